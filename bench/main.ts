/**
 * `npm run bench`: measures MESH beside its neighbours and prints ratios. Every system is measured in the same run, servers
 * and load generators in processes of their own, in interleaved rounds. docs/performance.md says how to read the numbers.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildReport, formatResult } from './harness/report.ts'
import type { BenchContext, Scenario, ScenarioResult } from './harness/scenario.ts'
import { type BenchOptions, parseBenchOptions, USAGE } from './options.ts'
import { bundleScenario } from './scenarios/bundle/scenario.ts'
import { channelScenario } from './scenarios/channel/scenario.ts'
import { federationScenario } from './scenarios/federation/scenario.ts'
import { idleScenario } from './scenarios/idle/scenario.ts'
import { joinScenario } from './scenarios/join/scenario.ts'
import { relayScenario } from './scenarios/relay/scenario.ts'
import { replicaScenario } from './scenarios/replica/scenario.ts'
import { startScenario } from './scenarios/start/scenario.ts'

const SCENARIOS: readonly Scenario[] = [
  relayScenario,
  idleScenario,
  joinScenario,
  startScenario,
  channelScenario,
  federationScenario,
  replicaScenario,
  bundleScenario,
]

const RESULTS = new URL('./results/', import.meta.url)

async function main(options: BenchOptions, scenarios: readonly Scenario[]): Promise<void> {
  const startedAt = new Date()
  const context: BenchContext = {
    quick: options.quick,
    profileDir: options.profile ? fileURLToPath(new URL('profiles/', RESULTS)) : undefined,
    progress: showProgress,
  }
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    const result = await scenario.run(context)
    clearProgress()
    console.log(formatResult(result))
    results.push(result)
  }
  const file = options.json ?? fileURLToPath(new URL(`${startedAt.toISOString().replaceAll(':', '-')}.json`, RESULTS))
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${JSON.stringify(buildReport(startedAt, options.quick, results), undefined, 2)}\n`)
  console.log(`report: ${relative(process.cwd(), file)}`)
}

function chooseScenarios(names: readonly string[]): readonly Scenario[] {
  const unknown = names.find((name) => !SCENARIOS.some((scenario) => scenario.name === name))
  if (unknown) throw new Error(`no scenario "${unknown}"; there are ${scenarioNames()}`)
  return names.length === 0 ? SCENARIOS : SCENARIOS.filter((scenario) => names.includes(scenario.name))
}

function scenarioNames(): string {
  return SCENARIOS.map((scenario) => scenario.name).join(', ')
}

/** One line that overwrites itself on a terminal; lines of a log otherwise. */
function showProgress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[2K${text}` : `${text}\n`)
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
}

/** What was asked for, or undefined after saying what cannot be asked for. */
function readOptions(args: readonly string[]): { options: BenchOptions; scenarios: readonly Scenario[] } | undefined {
  try {
    const options = parseBenchOptions(args)
    return { options, scenarios: chooseScenarios(options.scenarios) }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage()}`)
    return undefined
  }
}

function usage(): string {
  return USAGE.replace('%scenarios', scenarioNames())
}

const asked = readOptions(process.argv.slice(2))
if (!asked) process.exitCode = 2
else if (asked.options.help) console.log(usage())
else await main(asked.options, asked.scenarios)
