import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const REPOSITORY = join(import.meta.dirname, '..', '..')

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-totals-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Runs the given test files in a project of their own and returns what the reporter wrote. */
async function totalsOf(files: Record<string, string>): Promise<unknown> {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const totals = join(folder, 'totals.json')
  const reporter = join(import.meta.dirname, 'totals-reporter.ts')
  const args = ['run', '--root', folder, '--globals', `--reporter=${reporter}`]
  await new Promise<void>((resolve) => {
    const options = { env: { ...process.env, MESH_TOTALS_FILE: totals } }
    const runner = join(REPOSITORY, 'node_modules', 'vitest', 'vitest.mjs')
    execFile(process.execPath, [runner, ...args], options, () => resolve()) // fails by intention
  })
  return JSON.parse(readFileSync(totals, 'utf8'))
}

test('the totals count tests that pass and fail, files that cannot be loaded, and no skipped ones', async () => {
  const files = {
    'mixed.test.js': "test('a', () => {}); test('b', () => {}); test('c', () => { throw 1 }); test.skip('d', () => {})",
    'broken.test.js': 'throw new Error("cannot be loaded")',
  }
  expect(await totalsOf(files)).toEqual({ passed: 2, failed: 2 })
}, 60_000)

test('the totals count an error outside any test as a failure', async () => {
  const files = { 'late.test.js': "test('a', () => { void Promise.reject(new Error('nobody waits')) })" }
  expect(await totalsOf(files)).toEqual({ passed: 1, failed: 1 })
}, 60_000)
