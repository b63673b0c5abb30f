/** A thread of its own for one mutation, so that its modules are its own too: says which seed noticed the mistake. */
import { parentPort, workerData } from 'node:worker_threads'
import { type Failure, runSeeds } from './simulation.ts'
import { simulationNamed } from './simulations.ts'
import { mutateSources, ROOT, type SourceMutation } from './source-mutation.ts'

export interface MutationTask {
  readonly simulation: string
  readonly mutation: SourceMutation
}

/** `failure` is what the mistake caused; undefined when no seed noticed it. */
export interface MutationReport {
  readonly applied: boolean
  readonly failure: Failure | undefined
}

const { simulation, mutation } = workerData as MutationTask
const { applied } = mutateSources(mutation, ROOT)
// A mistake may also leave promises without anybody who waits for them.
process.on('unhandledRejection', (reason) => report({ seed: 0, violations: [`unhandled: ${String(reason)}`] }))

const { failure } = await runSeeds(simulationNamed(simulation), { first: 1, last: mutation.within })
report(failure)

function report(found: Failure | undefined): void {
  const message: MutationReport = { applied: applied(), failure: found }
  parentPort?.postMessage(message)
}
