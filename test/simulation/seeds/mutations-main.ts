/**
 * `npm run sim:mutations`: makes every mistake of the list, one at a time, and shows which seed noticed it. One that nobody
 * notices is a hole in what the simulation asserts. `npm run sim:mutations -- digest` takes those whose name has "digest".
 */
import { availableParallelism } from 'node:os'
import { FEDERATION_MUTATIONS } from '../federation/mutations.ts'
import { tryMutation } from './mutation.ts'
import type { SourceMutation } from './source-mutation.ts'

/** Longer than the slowest takes when it is noticed. A mistake may also make a run endless. */
const TIMEOUT_MS = 600_000

async function main(words: readonly string[]): Promise<boolean> {
  const chosen = FEDERATION_MUTATIONS.filter(({ name }) => words.every((word) => name.includes(word)))
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
  return true
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1
