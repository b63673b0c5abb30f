import { describeFailure, type Simulation } from './simulation.ts'

/** Lines of a trace that are shown unless all are wanted. */
const LAST_LINES = 300

/** Runs one seed and prints what happens: all of it, or the last of it. False when it fails. */
export async function showSeed(
  simulation: Simulation,
  seed: number,
  { all, replay }: { readonly all: boolean; readonly replay?: string },
): Promise<boolean> {
  const { violations, trace, totals } = await simulation.run(seed, { trace: true })
  const earlier = all ? 0 : Math.max(0, trace.length - LAST_LINES)
  if (earlier > 0) console.log(`${earlier} earlier lines are shown with --all`)
  for (const line of trace.slice(earlier)) console.log(line)
  console.log(
    violations.length > 0 ? describeFailure(simulation, { seed, violations }, replay) : `seed ${seed} is fine`,
  )
  console.log(JSON.stringify(totals))
  return violations.length === 0
}
