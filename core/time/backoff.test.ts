import { describe, expect, it } from 'vitest'
import { seededRandom } from '../random.ts'
import { Backoff } from './backoff.ts'

describe('Backoff', () => {
  it('doubles the ceiling up to the maximum when the draw is the highest', () => {
    const random = { ...seededRandom(1), uniform: () => 1 - 2 ** -53 }
    const backoff = new Backoff({ initialMs: 100, maxMs: 1_000, random })
    const delays = Array.from({ length: 6 }, () => Math.round(backoff.next()))
    expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000])
    expect(backoff.attempt).toBe(6)
  })

  it('stays within [floor, ceiling) and spreads over it when drawn often', () => {
    const random = seededRandom(5)
    const delays = Array.from({ length: 2_000 }, () => {
      const backoff = new Backoff({ initialMs: 1_000, maxMs: 8_000, floorMs: 50, random })
      backoff.next()
      return backoff.next()
    })
    for (const delay of delays) expect(delay >= 50 && delay < 2_000).toBe(true)
    const mean = delays.reduce((sum, delay) => sum + delay, 0) / delays.length
    // Full jitter: the mean is half the ceiling. Four standard errors are about 52 ms.
    expect(Math.abs(mean - 1_000)).toBeLessThan(60)
    expect(Math.min(...delays)).toBe(50)
  })

  it('starts over when it is reset', () => {
    const backoff = new Backoff({ initialMs: 10, maxMs: 1_000_000, random: { ...seededRandom(1), uniform: () => 0.5 } })
    for (let i = 0; i < 5; i++) backoff.next()
    backoff.reset()
    expect(backoff.attempt).toBe(0)
    expect(backoff.next()).toBe(5)
  })

  it('draws below the limit of one delay when that is less than its ceiling, and counts on', () => {
    const random = { ...seededRandom(1), uniform: () => 1 - 2 ** -53 }
    const backoff = new Backoff({ initialMs: 100, maxMs: 1_000, floorMs: 50, random })
    const limits = [undefined, 150, 10, undefined]
    expect(limits.map((limitMs) => Math.round(backoff.next(limitMs)))).toEqual([100, 150, 50, 800])
  })

  it('stays finite when it fails for ages', () => {
    const backoff = new Backoff({ initialMs: 10, maxMs: 500, random: seededRandom(9) })
    for (let i = 0; i < 5_000; i++) expect(backoff.next()).toBeLessThan(500)
  })

  it('cannot be made without sensible bounds', () => {
    const random = seededRandom(1)
    expect(() => new Backoff({ initialMs: 0, maxMs: 10, random })).toThrow(RangeError)
    expect(() => new Backoff({ initialMs: 20, maxMs: 10, random })).toThrow(RangeError)
  })
})
