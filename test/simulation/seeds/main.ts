/**
 * `npm run sim`: the simulations, over more seeds than a test run has time for, on all cores. The first seed that fails ends
 * it, with what happened and the command that shows it again.
 *
 *     npm run sim                            100,000 seeds of each
 *     npm run sim -- link --seeds 5000       5,000 of one
 *     npm run sim -- link --seed 42          one seed, what happened before its end; --all for everything
 */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { showSeed } from './show-seed.ts'
import { type Failure, type SeedReport, type Simulation, sum } from './simulation.ts'
import { SIMULATIONS, simulationNamed } from './simulations.ts'

/** Seeds that one thread takes at a time: a few seconds. */
const CHUNK = 100

/** Seconds between two lines of progress. */
const PROGRESS_S = 10

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      all: { type: 'boolean', default: false },
      first: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '100000' },
      workers: { type: 'string', default: String(availableParallelism()) },
    },
  })
  const simulations = positionals.length === 0 ? SIMULATIONS : positionals.map(simulationNamed)
  if (values.seed !== undefined) {
    for (const simulation of simulations) if (!(await showSeed(simulation, number(values.seed), values))) return false
    return true
  }
  const first = number(values.first)
  const range = { first, last: first + number(values.seeds) - 1 }
  for (const simulation of simulations) {
    const failure = await runOnAllCores(simulation, range, number(values.workers))
    if (failure === undefined) continue
    await showSeed(simulation, failure.seed, { all: false })
    return false
  }
  return true
}

/** Returns the failure with the lowest seed among those that were found. */
async function runOnAllCores(
  simulation: Simulation,
  { first, last }: { readonly first: number; readonly last: number },
  workerCount: number,
): Promise<Failure | undefined> {
  const startedMs = performance.now()
  let next = first
  let runs = 0
  let totals: Readonly<Record<string, number>> = {}
  const failures: Failure[] = []
  const progress = (): void => {
    const seconds = (performance.now() - startedMs) / 1_000
    console.log(`${simulation.name}: ${runs} of ${last - first + 1} seeds, ${(runs / seconds).toFixed(1)} a second`)
  }
  const timer = setInterval(progress, PROGRESS_S * 1_000)
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./seed-worker.ts', import.meta.url), {
      workerData: { simulation: simulation.name },
    })
    try {
      while (next <= last && failures.length === 0) {
        const chunk = { first: next, last: Math.min(last, next + CHUNK - 1) }
        next = chunk.last + 1
        const report = await answerOf(worker, chunk)
        runs += report.runs
        totals = sum(totals, report.totals)
        if (report.failure !== undefined) failures.push(report.failure)
      }
    } finally {
      await worker.terminate()
    }
  }
  await Promise.all(Array.from({ length: workerCount }, work))
  clearInterval(timer)
  progress()
  console.log(`${simulation.name}: ${JSON.stringify(totals)}`)
  return failures.sort((a, b) => a.seed - b.seed)[0]
}

async function answerOf(worker: Worker, chunk: { readonly first: number; readonly last: number }): Promise<SeedReport> {
  worker.postMessage(chunk)
  const [report] = await once(worker, 'message')
  return report
}

function number(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`"${text}" is not a number of seeds`)
  return value
}

process.exitCode = (await main()) ? 0 : 1
