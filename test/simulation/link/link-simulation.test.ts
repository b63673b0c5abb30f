import { expect, test } from 'vitest'
import { simulateLink } from './simulate-link.ts'

/** Runs of the default lane; MESH_SIM_RUNS for more, MESH_SIM_SEED for one run alone. */
const RUNS = Number(process.env.MESH_SIM_RUNS ?? 2_000)
const ONLY_SEED = process.env.MESH_SIM_SEED

test(
  `two links keep every promise when paths lose, double, reorder, fill, break and come back (${RUNS} seeds)`,
  async () => {
    const totals = { packets: 0, repeats: 0, pathChanges: 0, live: 0, close: 0, silence: 0 }
    const [first, last] = ONLY_SEED === undefined ? [1, RUNS] : [Number(ONLY_SEED), Number(ONLY_SEED)]
    for (let seed = first; seed <= last; seed++) {
      const result = await simulateLink(seed)
      expect(
        result.violations,
        `seed ${seed} (${result.ending}); replay: MESH_SIM_SEED=${seed} vitest run test/simulation/link`,
      ).toEqual([])
      totals.packets += result.packets
      totals.repeats += result.repeats
      totals.pathChanges += result.pathChanges
      totals[result.ending] += 1
    }
    if (ONLY_SEED !== undefined) return
    // The runs must have had something to survive.
    expect(totals.repeats).toBeGreaterThan(RUNS)
    expect(totals.pathChanges).toBeGreaterThan(2 * RUNS)
    expect(Math.min(totals.live, totals.close, totals.silence)).toBeGreaterThan(0)
  },
  Math.max(240_000, RUNS * 120),
)
