import type { BenchContext } from './scenario.ts'
import { type Summary, summarize } from './stats.ts'

/** Something measured once per round. */
export interface Contender {
  readonly name: string
  /** One repetition: measurements by metric key. */
  readonly measure: () => Promise<Readonly<Record<string, number>>>
}

export type Measurements = ReadonlyMap<string, Readonly<Record<string, Summary>>>

/**
 * Measures all contenders `rounds` times, interleaved (A B C, A B C, …), so that a slow minute of the machine hits all of
 * them alike; the order turns around every second round, so none always runs after the same neighbour. The first
 * `discard` rounds are warm-up and not kept.
 */
export async function interleave(
  contenders: readonly Contender[],
  options: { rounds: number; discard?: number; context: BenchContext; label: string },
): Promise<Measurements> {
  const samples = new Map<string, Record<string, number[]>>(contenders.map((contender) => [contender.name, {}]))
  const discard = options.discard ?? 0
  for (let round = -discard; round < options.rounds; round++) {
    const ordered = round % 2 === 0 ? contenders : contenders.toReversed()
    const kind = round < 0 ? 'warm-up' : `round ${round + 1}/${options.rounds}`
    for (const contender of ordered) {
      options.context.progress(`${options.label} · ${kind} · ${contender.name}`)
      const measured = await contender.measure()
      if (round < 0) continue
      keep(samples.get(contender.name)!, measured)
    }
  }
  return new Map([...samples].map(([name, metrics]) => [name, summarizeAll(metrics)]))
}

function keep(samples: Record<string, number[]>, measured: Readonly<Record<string, number>>): void {
  for (const [metric, value] of Object.entries(measured)) samples[metric] = [...(samples[metric] ?? []), value]
}

function summarizeAll(metrics: Record<string, number[]>): Record<string, Summary> {
  return Object.fromEntries(Object.entries(metrics).map(([metric, values]) => [metric, summarize(values)]))
}
