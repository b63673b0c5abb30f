/** `npm run check`: everything that can be said about the code without running the tests. */
import { performance } from 'node:perf_hooks'
import { breaking, generatedIsCurrent } from './check-proto.mjs'
import { runQuietly } from './process.mjs'

/**
 * @typedef {object} StepResult
 * @property {boolean} passed
 * @property {string} output shown when it failed
 * @property {string} [skipped] why nothing was checked
 */

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {(root: string) => Promise<StepResult>} run
 */

/** @type {readonly Step[]} */
const STEPS = [
  { name: 'format and lint', run: command('biome', ['check', '--error-on-warnings', '.']) },
  { name: 'types', run: command('tsc', ['-p', 'tsconfig.json']) },
  { name: 'proto lint', run: command('buf', ['lint']) },
  { name: 'proto format', run: command('buf', ['format', '--diff', '--exit-code']) },
  { name: 'proto breaking', run: breaking },
  { name: 'generated code', run: generatedIsCurrent },
  { name: 'architecture', run: command('vitest', ['run', '--project', 'unit', 'test/architecture.test.ts']) },
]

/** Two at a time: the slow steps (types, lint, architecture) keep a core busy each. */
const CONCURRENCY = 2

/**
 * Runs every step and prints one line for each; the output of the steps that failed follows.
 *
 * @param {import('./verbs.mjs').VerbContext} context
 */
export async function check({ root }) {
  const { failed } = await runChecks(root)
  return failed === 0 ? 0 : 1
}

/**
 * @param {string} root
 * @param {readonly string[]} [except] names of steps that something else runs
 */
export async function runChecks(root, except = []) {
  const waiting = STEPS.filter((step) => !except.includes(step.name))
  const totals = { passed: 0, failed: 0 }
  const worker = async () => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const startMs = performance.now()
      const result = await step.run(root)
      report(step.name, result, performance.now() - startMs)
      if (result.skipped === undefined) totals[result.passed ? 'passed' : 'failed']++
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return totals
}

/**
 * @param {string} name
 * @param {StepResult} result
 * @param {number} tookMs
 */
function report(name, result, tookMs) {
  const mark = result.skipped !== undefined ? '-' : result.passed ? '✓' : '✗'
  const note = result.skipped === undefined ? '' : `  skipped: ${result.skipped}`
  console.log(`${mark} ${name.padEnd(16)} ${(tookMs / 1000).toFixed(1).padStart(5)} s${note}`)
  if (!result.passed) console.log(`${result.output.trimEnd()}\n`)
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function command(program, args) {
  return async (/** @type {string} */ cwd) => {
    const { code, output } = await runQuietly(program, args, { cwd })
    return { passed: code === 0, output }
  }
}
