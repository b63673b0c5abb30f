/**
 * `npm test`: the checks, then every test. `npm test -- <filter>` runs only the matching test files.
 *
 * Everything runs even when something failed before, so that one run shows all there is to fix. The last line
 * counts checks and tests together.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runChecks } from './check.mjs'
import { requireChromium } from './chromium.mjs'
import { runInForeground } from './process.mjs'

/** @typedef {{ passed: number, failed: number }} Totals */

/** @param {import('./verbs.mjs').VerbContext} context */
export async function test({ root, args }) {
  if (args.length > 0) return await runInForeground('vitest', ['run', ...args], { cwd: root })
  const file = join(root, 'test', '.artifacts', 'totals.json')
  rmSync(file, { force: true })

  const checks = await runChecks(root, ['architecture']) // which is among the tests
  const { lanes, failed: browserFailed } = await lanesWithBrowser()
  const tests = await runTests(root, lanes)
  const totals = {
    passed: checks.passed + tests.passed,
    failed: checks.failed + tests.failed + browserFailed,
  }
  writeFileSync(file, `${JSON.stringify(totals)}\n`)
  console.log(`${totals.passed} passed, ${totals.failed} failed`)
  return totals.failed === 0 ? 0 : 1
}

/** Without a browser the lanes that need one fail, and the others still run. */
async function lanesWithBrowser() {
  try {
    process.env.CHROME_PATH = await requireChromium()
    return { lanes: [], failed: 0 }
  } catch (error) {
    console.error(`✗ browser lanes\n${error instanceof Error ? error.message : error}\n`)
    delete process.env.CHROME_PATH
    return { lanes: ['--project', 'unit', '--project', 'federation'], failed: 1 }
  }
}

/**
 * @param {string} root
 * @param {string[]} lanes
 * @returns {Promise<Totals>}
 */
async function runTests(root, lanes) {
  const file = join(root, 'test', '.artifacts', 'vitest-totals.json')
  mkdirSync(join(root, 'test', '.artifacts'), { recursive: true })
  rmSync(file, { force: true })
  process.env.MESH_TOTALS_FILE = file
  const reporters = ['--reporter=default', '--reporter=./test/setup/totals-reporter.ts']
  const code = await runInForeground('vitest', ['run', ...lanes, ...reporters], { cwd: root })
  const totals = readTotals(file)
  // A crash of the runner itself is a failure even if no test says so.
  return code !== 0 && totals.failed === 0 ? { ...totals, failed: 1 } : totals
}

/**
 * @param {string} file
 * @returns {Totals}
 */
function readTotals(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { passed: 0, failed: 1 } // the runner died before it could report
  }
}
