import { describe, expect, test } from 'vitest'
import { BodySlab } from './body-slab.ts'

describe('the slab of a session', () => {
  test('is shared by bodies that follow quickly, without overlap', () => {
    const slab = new BodySlab()
    const bodies = Array.from({ length: 40 }, (_, index) => slab.allocate(200, index))
    for (const [index, body] of bodies.entries()) body.fill(index + 1)
    for (const [index, body] of bodies.entries()) expect(body.every((byte) => byte === index + 1)).toBe(true)
    expect(new Set(bodies.map(({ buffer }) => buffer)).size).toBeLessThan(6)
  })

  test('is not used for large bodies nor for those that come alone', () => {
    const slab = new BodySlab()
    slab.allocate(10, 0)
    expect(slab.allocate(10, 1_000).buffer.byteLength).toBe(10)
    expect(slab.allocate(2_000, 1_001).buffer.byteLength).toBe(2_000)
  })
})
