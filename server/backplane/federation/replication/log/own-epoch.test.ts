import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { canBeOfAnother, canHaveBeenOwn, epochAbove, firstEpoch } from './own-epoch.ts'

const WALL_MS = 1_700_000_000_000
const DAY_MS = 86_400_000

describe('an epoch', () => {
  test('rises with the clock, and fits into 64 bits for centuries', () => {
    const random = seededRandom(1)
    expect(firstEpoch(WALL_MS + 1, random)).toBeGreaterThan(firstEpoch(WALL_MS, random))
    expect(firstEpoch(Date.UTC(2240), random)).toBeLessThan(2n ** 64n)
  })

  test('above another one has low bits of its own, so that two who rise above the same one differ', () => {
    const past = firstEpoch(WALL_MS, seededRandom(1))
    const [one, other] = [epochAbove(past, seededRandom(2)), epochAbove(past, seededRandom(3))]
    expect(one > past && other > past).toBe(true)
    expect(one).not.toBe(other)
  })

  test('is believed of oneself within a day, and of others within two', () => {
    const random = seededRandom(1)
    const in36h = firstEpoch(WALL_MS + 1.5 * DAY_MS, random)
    expect([canHaveBeenOwn(in36h, WALL_MS), canBeOfAnother(in36h, WALL_MS)]).toEqual([false, true])
    expect(canHaveBeenOwn(firstEpoch(WALL_MS + DAY_MS / 2, random), WALL_MS)).toBe(true)
    expect(canBeOfAnother(2n ** 64n - 1n, WALL_MS)).toBe(false)
  })
})
