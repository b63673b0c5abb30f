import { describe, expect, test } from 'vitest'
import { tryMutation } from '../../seeds/mutation.ts'
import { FEDERATION_MUTATIONS } from './mutations.ts'

/** What shows within a few seeds; `npm run sim:mutations` tries them all. */
const QUICK_SEEDS = 20
const TIMEOUT_MS = 240_000

/** Some of each kind. */
const QUICK = FEDERATION_MUTATIONS.filter(({ within }) => within <= QUICK_SEEDS)

describe('the simulation of federation', () => {
  for (const mutation of QUICK) {
    test(`notices within ${mutation.within} seeds when ${mutation.name}`, { timeout: TIMEOUT_MS }, async () => {
      expect(await tryMutation('federation', mutation, TIMEOUT_MS)).toBeDefined()
    })
  }
})
