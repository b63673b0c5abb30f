import { expect, test } from 'vitest'
import { describeFailure, runSeeds } from '../seeds/simulation.ts'
import { linkSimulation } from '../seeds/simulations.ts'

/** Runs of the default lane; MESH_SIM_RUNS for more. `npm run sim -- link` runs 100,000 on all cores. */
const RUNS = Number(process.env.MESH_SIM_RUNS ?? 2_000)

test(
  `links keep every promise through paths that fail, servers and peers that restart, and machines that sleep (${RUNS} seeds)`,
  async () => {
    const { failure, totals } = await runSeeds(linkSimulation, { first: 1, last: RUNS })
    expect(failure && describeFailure(linkSimulation, failure)).toBeUndefined()
    // The runs must have had something to survive.
    expect(totals.repeats).toBeGreaterThan(RUNS)
    expect(totals.pathChanges).toBeGreaterThan(2 * RUNS)
    expect(totals.datagrams).toBeGreaterThan(RUNS)
    expect(totals.restarts).toBeGreaterThan(RUNS / 10)
    expect(totals.sleeps).toBeGreaterThan(RUNS / 10)
    for (const ending of ['live', 'close', 'silence']) expect(totals[ending]).toBeGreaterThan(0)
  },
  Math.max(240_000, RUNS * 120),
)
