import { describe, expect, test } from 'vitest'
import { MUTATIONS } from './mutations.ts'
import { simulateLink } from './simulate-link.ts'

/** Runs until a mistake shows. Most show in the first few, the rarest in one of sixty. */
const MAX_RUNS = 300

describe('the simulation of the link', () => {
  for (const mutation of MUTATIONS) {
    test(`notices when ${mutation.name}`, async () => {
      const undo = mutation.apply()
      try {
        expect(await firstViolation(), 'seeds without a violation').toBeLessThanOrEqual(MAX_RUNS)
      } finally {
        undo()
      }
    }, 60_000)
  }
})

/** The first seed with a violation. */
async function firstViolation(): Promise<number> {
  for (let seed = 1; seed <= MAX_RUNS; seed++) {
    const { violations } = await simulateLink(seed)
    if (violations.length > 0) return seed
  }
  return Number.POSITIVE_INFINITY
}
