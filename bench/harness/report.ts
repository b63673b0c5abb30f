import { describeMachine, type Machine } from './machine.ts'
import { type ScenarioResult, type TargetResult, targetMet } from './scenario.ts'
import { type Summary, spread } from './stats.ts'
import { formatNumber, formatTable } from './table.ts'

/** The JSON file of a run. */
export interface Report {
  readonly startedAt: string
  readonly quick: boolean
  readonly machine: Machine
  readonly results: readonly ScenarioResult[]
}

export function buildReport(startedAt: Date, quick: boolean, results: readonly ScenarioResult[]): Report {
  return { startedAt: startedAt.toISOString(), quick, machine: describeMachine(), results }
}

/** Title, table, targets and notes of one scenario, as text. */
export function formatResult(result: ScenarioResult): string {
  const headings = ['', ...result.metrics.map((metric) => metric.heading)]
  const rows = result.rows.map((row) => [
    row.variant,
    ...result.metrics.map((metric) => formatCell(row.measurements[metric.key])),
  ])
  const parts = [`\n${result.scenario}: ${result.title}\n`, formatTable(headings, rows)]
  if (result.targets.length > 0) parts.push('', ...result.targets.map(formatTarget))
  if (result.notes.length > 0) parts.push('', ...result.notes.map((note) => `  ${note}`))
  return `${parts.join('\n')}\n`
}

/** The median, with the spread once there is more than one sample: "12.3 ±4%". */
function formatCell(summary: Summary | undefined): string {
  if (!summary) return '–'
  const median = formatNumber(summary.median)
  return summary.samples.length < 2 ? median : `${median} ±${Math.round(spread(summary) * 100)}%`
}

function formatTarget(target: TargetResult): string {
  const bound = 'atMost' in target.bound ? `≤ ${target.bound.atMost}` : `≥ ${target.bound.atLeast}`
  const { median, low, high, samples } = target.found
  const range = samples.length < 2 ? '' : ` (${formatNumber(low)} to ${formatNumber(high)})`
  return `  ${targetMet(target) ? 'met   ' : 'MISSED'}  ${target.target}: ${formatNumber(median)}${range}, target ${bound}`
}
