import { parseArgs } from 'node:util'

export interface BenchOptions {
  /** Scenario names; empty for all. */
  readonly scenarios: readonly string[]
  readonly quick: boolean
  /** Where the JSON report goes; undefined for a file named after the time under bench/results/. */
  readonly json: string | undefined
  readonly profile: boolean
  readonly help: boolean
}

export const USAGE = `npm run bench -- [scenario …] [--quick] [--json <file>] [--profile]

  scenarios   %scenarios (default: all)
  --quick     fewer repetitions and smaller populations: about four minutes for everything
  --json      where the report goes (default: bench/results/<time>.json)
  --profile   servers write V8 CPU profiles to bench/results/profiles/; numbers of such a run are not comparable`

/** Throws on an option it does not know. */
export function parseBenchOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const { quick, json, profile, help } = values
  return { scenarios: positionals, quick, json, profile, help }
}
