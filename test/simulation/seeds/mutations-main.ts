/**
 * `npm run sim:mutations`: makes every mistake of the list, one at a time, and shows which seed noticed it. One that nobody
 * notices is a hole in what the simulation asserts.
 *
 *     npm run sim:mutations                        all of them
 *     npm run sim:mutations -- digest              those whose name has "digest"
 *     npm run sim:mutations -- digest --seed 7     what happens in one seed with the first of those
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { FEDERATION_MUTATIONS } from '../federation/mutations/mutations.ts'
import { tryMutation } from './mutation.ts'
import { showSeed } from './show-seed.ts'
import { simulationNamed } from './simulations.ts'
import { mutateSources, ROOT, type SourceMutation } from './source-mutation.ts'

/** Longer than the slowest takes when it is noticed. A mistake may also make a run endless. */
const TIMEOUT_MS = 600_000

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: 'string' }, all: { type: 'boolean', default: false } },
  })
  const chosen = FEDERATION_MUTATIONS.filter(({ name }) => positionals.every((word) => name.includes(word)))
  const [first] = chosen
  if (values.seed !== undefined && first !== undefined) {
    // Nothing of the servers is loaded before.
    mutateSources(first, ROOT)
    const seed = Number(values.seed)
    await showSeed(simulationNamed('federation'), seed, { all: values.all, replay: replayOf(first, seed) })
    return true
  }
  const waiting = [...chosen]
  let survivors = 0
  const work = async (): Promise<void> => {
    for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
      if (!(await show(mutation))) survivors += 1
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  console.log(`${chosen.length - survivors} of ${chosen.length} mistakes were noticed`)
  return survivors === 0
}

function replayOf({ name }: SourceMutation, seed: number): string {
  return `npm run sim:mutations -- "${name}" --seed ${seed}`
}

/** False when nobody noticed. */
async function show(mutation: SourceMutation): Promise<boolean> {
  const startedMs = performance.now()
  const failure = await tryMutation('federation', mutation, TIMEOUT_MS).catch((error: unknown) => error)
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
  if (failure === undefined || failure instanceof Error) {
    console.log(`SURVIVED  ${mutation.name}: ${failure?.message ?? `${mutation.within} seeds`} (${seconds} s)`)
    return false
  }
  const { seed, violations } = failure as { seed: number; violations: readonly string[] }
  console.log(`seed ${String(seed).padStart(4)}  ${mutation.name} (${seconds} s)\n           ${violations[0]}`)
  console.log(`           replay: ${replayOf(mutation, seed)}`)
  return true
}

process.exitCode = (await main()) ? 0 : 1
