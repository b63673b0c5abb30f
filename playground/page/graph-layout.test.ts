import { describe, expect, test } from 'vitest'
import { chordPath, layoutGraph, type Point } from './graph-layout.ts'

const SIZES = [
  { width: 330, height: 280 },
  { width: 640, height: 304 },
  { width: 720, height: 368 },
]
const COUNTS = [1, 2, 3, 4, 5, 8, 12]

const distance = (a: Point, b: Point) => Math.hypot(a.x - b.x, a.y - b.y)

describe.each(SIZES)('the drawing of $width by $height', ({ width, height }) => {
  test.each(COUNTS)('keeps %i peers and their names inside', (count) => {
    const { self, peers } = layoutGraph(count, width, height)
    expect(peers).toHaveLength(count)
    for (const { x, y } of [self, ...peers]) {
      expect(x).toBeGreaterThanOrEqual(55)
      expect(x).toBeLessThanOrEqual(width - 55)
      expect(y).toBeGreaterThanOrEqual(50)
      expect(y).toBeLessThanOrEqual(height - 50)
    }
  })

  test.each([1, 2, 3, 4, 5, 6])('puts no two of %i peers on top of each other', (count) => {
    const { self, peers } = layoutGraph(count, width, height)
    const all = [self, ...peers]
    for (const [index, point] of all.entries()) {
      for (const other of all.slice(index + 1)) expect(distance(point, other)).toBeGreaterThan(44)
    }
  })

  test('is the same for the same number', () => {
    expect(layoutGraph(7, width, height)).toEqual(layoutGraph(7, width, height))
  })
})

test('one peer stands beside this one at the same height', () => {
  const { self, peers } = layoutGraph(1, 640, 304)
  expect(peers[0]?.y).toBe(self.y)
  expect(self.x).toBeLessThan(peers[0]?.x ?? 0)
})

test('a drawing without room does not fail', () => {
  const { self, peers } = layoutGraph(3, 10, 10)
  for (const { x, y } of [self, ...peers]) expect(Number.isFinite(x) && Number.isFinite(y)).toBe(true)
})

describe('a line between two peers', () => {
  const centre = { x: 100, y: 100 }

  test('is straight when it stays clear of the middle', () => {
    expect(chordPath({ x: 0, y: 0 }, { x: 200, y: 0 }, centre)).toBe('M0 0L200 0')
  })

  test('bends upwards when it leads right through the middle', () => {
    expect(chordPath({ x: 0, y: 100 }, { x: 200, y: 100 }, centre, 50)).toBe('M0 100Q100 0 200 100')
    expect(chordPath({ x: 200, y: 100 }, { x: 0, y: 100 }, centre, 50)).toBe('M200 100Q100 0 0 100')
  })

  test('bends away from the middle, so far that its own middle is clear', () => {
    // 20 below the middle: the curve passes 50 below, with its control point twice as far from the chord.
    expect(chordPath({ x: 0, y: 120 }, { x: 200, y: 120 }, centre, 50)).toBe('M0 120Q100 180 200 120')
    expect(chordPath({ x: 120, y: 200 }, { x: 120, y: 0 }, centre, 50)).toBe('M120 200Q180 100 120 0')
  })

  test('between two peers in one place is a point', () => {
    expect(chordPath({ x: 5, y: 5 }, { x: 5, y: 5 }, { x: 300, y: 300 })).not.toContain('NaN')
  })
})
