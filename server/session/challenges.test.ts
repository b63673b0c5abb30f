import { ErrorReason, MeshError, seededRandom, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../limits/server-limits.ts'
import { Challenges } from './challenges.ts'

function setUp(limits = {}, seed = 1) {
  const clock = new VirtualClock()
  return { clock, challenges: new Challenges(resolveLimits(limits), clock, seededRandom(seed)) }
}

/** The reason a call is refused for; undefined when it is not. */
function reasonOf(run: () => void): ErrorReason | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof MeshError) return error.reason
    throw error
  }
}

describe('a challenge', () => {
  test('is good for one use', () => {
    const { challenges } = setUp()
    const challenge = challenges.issue()
    expect(reasonOf(() => challenges.spend(challenge))).toBeUndefined()
    expect(reasonOf(() => challenges.spend(challenge))).toBe(ErrorReason.CHALLENGE_USED)
    expect(reasonOf(() => challenges.check(challenge))).toBe(ErrorReason.CHALLENGE_USED)
  })

  test('expires after a minute, used or not', async () => {
    const { challenges, clock } = setUp()
    const [used, unused] = [challenges.issue(), challenges.issue()]
    challenges.spend(used)
    await clock.advance(59_999)
    expect(reasonOf(() => challenges.check(unused))).toBeUndefined()
    await clock.advance(1)
    expect(reasonOf(() => challenges.spend(unused))).toBe(ErrorReason.CHALLENGE_EXPIRED)
    expect(reasonOf(() => challenges.spend(used))).toBe(ErrorReason.CHALLENGE_EXPIRED)
  })

  test('of another server is not accepted', () => {
    const here = setUp()
    const there = setUp({}, 2)
    expect(reasonOf(() => here.challenges.spend(there.challenges.issue()))).toBe(ErrorReason.CHALLENGE_INVALID)
  })

  test('with any bit flipped, or of another length, is not accepted', () => {
    const { challenges } = setUp()
    const challenge = challenges.issue()
    for (let bit = 0; bit < challenge.byteLength * 8; bit++) {
      const flipped = challenge.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(reasonOf(() => challenges.check(flipped))).toBe(ErrorReason.CHALLENGE_INVALID)
    }
    for (const wrong of [new Uint8Array(), challenge.subarray(1), new Uint8Array([...challenge, 0])]) {
      expect(reasonOf(() => challenges.check(wrong))).toBe(ErrorReason.CHALLENGE_INVALID)
    }
  })

  test('is refused rather than forgotten when too many were used, until those expire', async () => {
    const { challenges, clock } = setUp({ maxUsedChallenges: 2 })
    challenges.spend(challenges.issue())
    challenges.spend(challenges.issue())
    expect(reasonOf(() => challenges.spend(challenges.issue()))).toBe(ErrorReason.LIMIT_EXCEEDED)
    await clock.advance(60_000)
    expect(reasonOf(() => challenges.spend(challenges.issue()))).toBeUndefined()
  })
})
