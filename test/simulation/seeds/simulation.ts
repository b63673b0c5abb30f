/** A simulation: one seed decides everything that happens in one run of it. */
export interface Simulation {
  /** As it is called on the command line. */
  readonly name: string
  run(seed: number, options: { readonly trace: boolean }): Promise<SeedResult>
}

export interface SeedResult {
  /** What the run promised and did not keep; empty when all is well. */
  readonly violations: readonly string[]
  /** What happened, last things last, when it was asked for. */
  readonly trace: readonly string[]
  /** What the run went through, summed over runs. */
  readonly totals: Readonly<Record<string, number>>
}

/** A seed that shows a mistake. */
export interface Failure {
  readonly seed: number
  readonly violations: readonly string[]
}

/** What seeds first to last, both included, went through, until one failed. */
export interface SeedReport {
  readonly runs: number
  readonly totals: Readonly<Record<string, number>>
  readonly failure: Failure | undefined
}

/** Runs seeds one after another; stops at the first that fails. */
export async function runSeeds(
  simulation: Simulation,
  { first, last }: { readonly first: number; readonly last: number },
): Promise<SeedReport> {
  let totals: Readonly<Record<string, number>> = {}
  for (let seed = first; seed <= last; seed++) {
    const result = await simulation.run(seed, { trace: false })
    totals = sum(totals, result.totals)
    if (result.violations.length > 0) {
      return { runs: seed - first + 1, totals, failure: { seed, violations: result.violations } }
    }
  }
  return { runs: last - first + 1, totals, failure: undefined }
}

export function sum(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const total: Record<string, number> = { ...a }
  for (const [name, value] of Object.entries(b)) total[name] = (total[name] ?? 0) + value
  return total
}

/** The one command that runs a seed again, and tells what happens in it. */
export function replayCommand(simulation: Simulation, seed: number): string {
  return `npm run sim -- ${simulation.name} --seed ${seed}`
}

/** What is wrong and how to see it. */
export function describeFailure(
  simulation: Simulation,
  { seed, violations }: Failure,
  replay = replayCommand(simulation, seed),
): string {
  const what = violations.map((violation) => `  ${violation}`).join('\n')
  return `${simulation.name} seed ${seed}:\n${what}\nreplay: ${replay}`
}
