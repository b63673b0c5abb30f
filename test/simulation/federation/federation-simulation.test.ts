import { expect, test } from 'vitest'
import { describeFailure, runSeeds } from '../seeds/simulation.ts'
import { federationSimulation } from '../seeds/simulations.ts'

/** Runs of the default lane; MESH_SIM_RUNS for more. `npm run sim -- federation` runs 100,000 on all cores. */
const RUNS = Number(process.env.MESH_SIM_RUNS ?? 2_000)

test(
  `servers replicate and deliver as promised when streams, servers, clocks and clients fail (${RUNS} seeds)`,
  async () => {
    const { failure, totals } = await runSeeds(federationSimulation, { first: 1, last: RUNS })
    expect(failure && describeFailure(federationSimulation, failure)).toBeUndefined()
    // The runs must have had something to survive, and clients somebody to talk to.
    expect(totals.crashes).toBeGreaterThan(RUNS / 2)
    expect(totals.pauses).toBeGreaterThan(RUNS / 4)
    expect(totals.brokenStreams).toBeGreaterThan(5 * RUNS)
    expect(totals.snapshots).toBeGreaterThan(5 * RUNS)
    expect(totals.passedOn).toBeGreaterThan(RUNS / 10)
    expect(totals.passedStates).toBeGreaterThan(RUNS)
    expect(totals.lostRows).toBeGreaterThan(RUNS / 10)
    expect(totals.lies).toBeGreaterThan(RUNS / 50)
    expect(totals.delivered).toBeGreaterThan(10 * RUNS)
  },
  Math.max(600_000, RUNS * 300),
)
