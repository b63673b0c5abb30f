import type { Summary } from './stats.ts'

/** What a scenario may use of the run it is part of. */
export interface BenchContext {
  /** Fewer repetitions and smaller populations: minutes become seconds, spreads grow. */
  readonly quick: boolean
  /** Where servers write CPU profiles; undefined when profiling is off. */
  readonly profileDir: string | undefined
  /** Progress for the person who waits; goes to stderr, so stdout stays the table. */
  readonly progress: (text: string) => void
}

/** One question, answered for every variant in the same run. */
export interface Scenario {
  readonly name: string
  readonly run: (context: BenchContext) => Promise<ScenarioResult>
}

export interface ScenarioResult {
  readonly scenario: string
  readonly title: string
  /** How it was measured, in a sentence or two, printed under the table. */
  readonly notes: readonly string[]
  readonly metrics: readonly Metric[]
  readonly rows: readonly VariantResult[]
  readonly targets: readonly TargetResult[]
}

export interface Metric {
  readonly key: string
  /** Column heading, with its unit. */
  readonly heading: string
}

/** Measurements by `Metric.key`; a variant leaves out what does not apply to it. */
export interface VariantResult {
  readonly variant: string
  readonly measurements: Readonly<Record<string, Summary>>
}

/** A number the design promises, and what this run found. */
export interface TargetResult {
  readonly target: string
  readonly bound: { readonly atMost: number } | { readonly atLeast: number }
  readonly found: Summary
}

export function targetMet(target: TargetResult): boolean {
  return 'atMost' in target.bound
    ? target.found.median <= target.bound.atMost
    : target.found.median >= target.bound.atLeast
}
