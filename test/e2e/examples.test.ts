import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const EXAMPLES = join(import.meta.dirname, '../../examples')
const MAX_LINES = 40

/** The lines each example prints, sorted: what peers do at the same time has no order. */
const OUTPUT: Readonly<Record<string, readonly string[]>> = {
  'two-peers.ts': ['ada hears "hello, ada"', 'bob hears "hello, everybody"', 'delivered to 1 peer'],
  'bot.ts': ['INVALID_ARGUMENT: send me a list of numbers', 'the bot says { sum: 42 }'],
  'stream.ts': ['the reader says measurements: 2097152 bytes'],
}

let home: string
let files: string[]

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'mesh-examples-'))
  files = (await readdir(EXAMPLES)).filter((name) => name.endsWith('.ts'))
})

afterAll(async () => {
  await rm(home, { recursive: true, force: true })
})

test('every example is tested', () => {
  expect(files.sort()).toEqual(Object.keys(OUTPUT).sort())
})

describe.each(Object.keys(OUTPUT))('examples/%s', (name) => {
  test('runs to its end by itself, and prints what it should', async () => {
    const run = promisify(execFile)(process.execPath, ['--conditions=source', join(EXAMPLES, name)], {
      env: { ...process.env, MESH_HOME: home },
      timeout: 45_000,
    })
    const { stdout, stderr } = await run
    expect(stdout.trimEnd().split('\n').sort()).toEqual(OUTPUT[name])
    expect(stderr).toBe('')
    // 'ephemeral' identities leave nothing behind.
    expect(await readdir(home)).toEqual([])
  })

  test('is short enough to read at a glance', async () => {
    const lines = (await readFile(join(EXAMPLES, name), 'utf8')).trimEnd().split('\n').length
    expect(lines).toBeLessThan(MAX_LINES)
  })
})
