import { describe, expect, it } from 'vitest'
import { TokenBucket } from './token-bucket.ts'
import { VirtualClock } from './virtual-clock.ts'

describe('TokenBucket', () => {
  it('gives the burst at once and then the rate', async () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket({ perSecond: 2, burst: 3, clock })
    expect([1, 2, 3, 4].map(() => bucket.take())).toEqual([true, true, true, false])
    expect(bucket.msUntil()).toBe(500)
    await clock.advance(499)
    expect(bucket.take()).toBe(false)
    await clock.advance(1)
    expect(bucket.take()).toBe(true)
    expect(bucket.take()).toBe(false)
  })

  it('never holds more than the burst', async () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket({ perSecond: 100, burst: 5, clock })
    await clock.advance(3_600_000)
    expect(bucket.full).toBe(true)
    expect(bucket.take(6)).toBe(false)
    expect(bucket.take(5)).toBe(true)
    expect(bucket.full).toBe(false)
  })

  it('takes nothing when it refuses', () => {
    const bucket = new TokenBucket({ perSecond: 1, burst: 2, clock: new VirtualClock() })
    expect(bucket.take(3)).toBe(false)
    expect(bucket.take(2)).toBe(true)
  })

  it('says how long to wait, or that waiting is no use', () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket({ perSecond: 3, burst: 2, clock })
    expect(bucket.msUntil(2)).toBe(0)
    bucket.take(2)
    expect(bucket.msUntil(1)).toBe(334)
    expect(bucket.msUntil(3)).toBe(Number.POSITIVE_INFINITY)
    expect(new TokenBucket({ perSecond: 0, burst: 0, clock }).msUntil()).toBe(Number.POSITIVE_INFINITY)
  })

  it('has a token after exactly the time it named when it was asked in many small steps', async () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket({ perSecond: 0.1, burst: 1, clock })
    bucket.take()
    for (let step = 0; step < 10_000; step += 7) {
      await clock.advance(Math.min(7, 10_000 - step))
      bucket.msUntil()
    }
    expect(bucket.take()).toBe(true)
  })

  it('ignores the wall clock', () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket({ perSecond: 1, burst: 1, clock })
    bucket.take()
    clock.skewWall(3_600_000)
    expect(bucket.take()).toBe(false)
  })
})
