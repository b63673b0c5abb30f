import { VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { Output } from './output.ts'
import { ProgressDisplay, renderProgress } from './progress.ts'
import { makeStyle } from './style.ts'
import { TextBuffer } from './text-buffer.fixture.ts'

const plain = makeStyle(false, {})
const MIB = 1_024 ** 2
const half = { doneBytes: 2 * MIB, totalBytes: 4 * MIB, elapsedMs: 1_000 }

describe('a progress line', () => {
  test('shows bar, share, bytes, speed and time left', () => {
    expect(renderProgress('photo.jpg', half, 100, plain)).toBe(
      `photo.jpg  ${'█'.repeat(15)}${'░'.repeat(15)}   50%  2.0 MiB of 4.0 MiB  2.0 MiB/s  1.0 s left`,
    )
  })

  test.each([10, 20, 30, 40, 60, 79, 200])('fits into %d columns', (columns) => {
    expect(renderProgress('a-rather-long-name.tar.gz', half, columns, plain).length).toBeLessThanOrEqual(columns)
  })

  test('says 100% only when everything is done', () => {
    expect(renderProgress('f', { ...half, doneBytes: 4 * MIB - 1 }, 80, plain)).toContain(' 99%')
    expect(renderProgress('f', { ...half, doneBytes: 4 * MIB }, 80, plain)).toContain('100%')
    expect(renderProgress('f', { doneBytes: 0, totalBytes: 0, elapsedMs: 0 }, 80, plain)).toContain('100%')
  })
})

describe('a progress display', () => {
  function show(options: { json?: boolean; isTTY?: boolean }) {
    const stdout = new TextBuffer({ isTTY: options.isTTY ?? false })
    const stderr = new TextBuffer()
    const clock = new VirtualClock()
    const output = new Output({ stdout, stderr, json: options.json ?? false, env: { NO_COLOR: '1' } })
    return { stdout, stderr, clock, display: new ProgressDisplay(output, clock, 'f', 1_000) }
  }

  test('redraws its line at most ten times a second, and takes it away in the end', async () => {
    const { stdout, clock, display } = show({ isTTY: true })
    for (let i = 0; i < 100; i++) {
      display.advance(1)
      await clock.advance(10)
    }
    display.stop()
    expect(stdout.text.split('\r\u001b[K').length - 1).toBe(1 + 10 + 1)
    expect(stdout.text.endsWith('\r\u001b[K')).toBe(true)
  })

  test('prints a line per quarter where there is no terminal', () => {
    const { stderr, display } = show({})
    for (let i = 0; i < 100; i++) display.advance(10)
    expect(stderr.lines).toEqual(['f: 25%', 'f: 50%', 'f: 75%'])
  })

  test('tells programs twice a second', async () => {
    const { stdout, clock, display } = show({ json: true })
    for (let i = 0; i < 10; i++) {
      display.advance(100)
      await clock.advance(100)
    }
    expect(stdout.events.map(({ doneBytes }) => doneBytes)).toEqual([100, 600])
  })

  test('counts one receiver more', () => {
    const { stderr, display } = show({})
    display.extend(1_000)
    display.advance(500)
    expect(stderr.lines).toEqual(['f: 25%'])
  })
})
