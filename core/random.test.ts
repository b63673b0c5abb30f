import { describe, expect, it } from 'vitest'
import { seededRandom, systemRandom } from './random.ts'

describe('seededRandom', () => {
  it('repeats itself when the seed is the same and differs when it is not', () => {
    expect(seededRandom(7).bytes(32)).toEqual(seededRandom(7).bytes(32))
    expect(seededRandom(7).bytes(32)).not.toEqual(seededRandom(8).bytes(32))
  })

  it('is uniform enough for jitter when drawn 10,000 times', () => {
    const random = seededRandom(3)
    const tenths = new Array<number>(10).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const value = random.uniform()
      expect(value >= 0 && value < 1).toBe(true)
      const tenth = Math.floor(value * 10)
      tenths[tenth] = (tenths[tenth] ?? 0) + 1
    }
    // 1,000 expected; five standard deviations are 150.
    for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150)
  })
})

describe('systemRandom', () => {
  it('fills more than one call of the platform gives', () => {
    const bytes = systemRandom.bytes(70_000)
    expect(bytes.length).toBe(70_000)
    // The tail is beyond the first 65,536 bytes: 32 zero bytes there would be an accident of 2^-256.
    expect(bytes.subarray(69_968).some((byte) => byte !== 0)).toBe(true)
  })

  it('stays within [0, 1)', () => {
    for (let i = 0; i < 1_000; i++) {
      const value = systemRandom.uniform()
      expect(value >= 0 && value < 1).toBe(true)
    }
  })
})
