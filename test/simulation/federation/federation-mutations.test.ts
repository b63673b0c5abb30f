import { describe, expect, test } from 'vitest'
import { tryMutation } from '../seeds/mutation.ts'
import { FEDERATION_MUTATIONS } from './mutations.ts'

/** What shows within a few seeds; `npm run sim:mutations` tries them all. */
const QUICK_SEEDS = 100
const TIMEOUT_MS = 240_000

/** One for each part of federation. */
const QUICK = FEDERATION_MUTATIONS.filter(({ within }, index) => within <= QUICK_SEEDS && index % 3 === 0)

describe('the simulation of federation', () => {
  for (const mutation of QUICK) {
    test(`notices within ${mutation.within} seeds when ${mutation.name}`, { timeout: TIMEOUT_MS }, async () => {
      expect(await tryMutation('federation', mutation, TIMEOUT_MS)).toBeDefined()
    })
  }
})
