import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runQuietly } from './process.mjs'

describe('runQuietly', () => {
  test('keeps what the program prints on both streams, and its exit code', async () => {
    const { code, output } = await runQuietly('sh', ['-c', 'echo out; echo err >&2; exit 3'])
    expect(code).toBe(3)
    expect(output.split('\n').sort().join(' ').trim()).toBe('err out')
  })

  test('reports a program that does not exist as a shell would', async () => {
    expect(await runQuietly('/nowhere/at-all', [])).toMatchObject({
      code: 127,
      output: expect.stringContaining('ENOENT'),
    })
  })

  test('reports a program ended by a signal with 128 and its number', async () => {
    expect((await runQuietly('sh', ['-c', 'kill -TERM $$'])).code).toBe(128 + 15)
  })
})

describe('runInForeground', () => {
  test('passes a signal on, and ends with the exit code that the program chose', async () => {
    const program = 'process.on("SIGTERM", () => process.exit(42)); console.log("ready"); setInterval(() => {}, 1000)'
    const module = JSON.stringify(join(import.meta.dirname, 'process.mjs'))
    const runner = `import { runInForeground } from ${module}
      process.exitCode = await runInForeground(process.execPath, ['-e', ${JSON.stringify(program)}])`
    const child = spawn(process.execPath, ['--input-type=module', '-e', runner])
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([42, null])
  })
})
