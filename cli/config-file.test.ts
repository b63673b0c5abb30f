import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type OptionTable, parseInput } from './args.ts'
import { completeFromFile, toConfigFile } from './config-file.ts'
import { ExitCode } from './exit-code.ts'
import { describeFailure } from './failure.ts'

const OPTIONS: OptionTable = {
  host: { value: 'address', meaning: '' },
  port: { value: 'port', meaning: '' },
  'lease-ms': { value: 'ms', meaning: '' },
  'key-file': { value: 'file', meaning: '' },
  'allowed-host': { value: 'host', multiple: true, meaning: '' },
  metrics: { meaning: '' },
  config: { value: 'file', meaning: '', commandLineOnly: true },
}

let directory: string
let file: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mesh-config-'))
  file = join(directory, 'server.json')
})
afterAll(() => rm(directory, { recursive: true, force: true }))

const typed = (...args: string[]) => parseInput(args, { usage: 'mesh serve', arguments: [], options: OPTIONS })

async function read(text: unknown, ...args: string[]) {
  await writeFile(file, typeof text === 'string' ? text : JSON.stringify(text))
  return completeFromFile(typed(...args), file, OPTIONS)
}

describe('a configuration file', () => {
  test('says what the command line would say', async () => {
    const input = await read({
      host: '::1',
      port: 4601,
      'lease-ms': '20s',
      'key-file': 'server.key',
      'allowed-host': ['a.example', 'b.example:4600'],
      metrics: false,
    })
    expect(input.text('host')).toBe('::1')
    expect(input.whole('port')).toBe(4601)
    expect(input.durationMs('lease-ms')).toBe(20_000)
    expect(input.list('allowed-host')).toEqual(['a.example', 'b.example:4600'])
    expect(input.flag('metrics')).toBe(false)
  })

  test('names files relative to itself', async () => {
    expect((await read({ 'key-file': 'server.key' })).text('key-file')).toBe(join(directory, 'server.key'))
    expect((await read({ 'key-file': '/etc/server.key' })).text('key-file')).toBe('/etc/server.key')
  })

  test('yields to the command line, lists and all', async () => {
    const input = await read(
      { port: 1, 'allowed-host': ['a', 'b'], metrics: true },
      '--port=2',
      '--allowed-host=c',
      '--no-metrics',
    )
    expect([input.whole('port'), input.list('allowed-host'), input.flag('metrics')]).toEqual([2, ['c'], false])
  })

  test.each([
    ['{ port: 1 }', 'is no JSON: '],
    [[], 'holds no JSON object'],
    [{ prot: 1 }, '"prot" in FILE is no option', 'Did you mean "port"?'],
    [{ allowedHost: [] }, '"allowedHost" in FILE is no option', 'Did you mean "allowed-host"?'],
    [{ '--lease_ms': 1 }, '"--lease_ms" in FILE is no option', 'Did you mean "lease-ms"?'],
    [{ dance: 1 }, '"dance" in FILE is no option', 'The names are those of the options, without dashes.'],
    [{ config: 'x' }, '"config" in FILE is no option'],
    [{ constructor: 'x' }, '"constructor" in FILE is no option'],
    [{ port: null }, '"port" in FILE must be a text or a number, not null'],
    [{ port: [1] }, '"port" in FILE must be a text or a number, not [1]'],
    [{ host: '' }, '"host" in FILE must be a text or a number, not ""'],
    [{ 'allowed-host': [true] }, '"allowed-host" in FILE must be a text or a list of texts, not [true]'],
    [{ metrics: 'yes' }, '"metrics" in FILE must be true or false, not "yes"'],
  ])('%j is refused', async (content, message, hint?: string) => {
    const failure = describeFailure(await read(content).catch((error) => error))
    expect(failure.message).toContain(message.replace('FILE', file))
    if (hint !== undefined) expect(failure.hint).toBe(hint)
    expect(failure.exitCode).toBe(ExitCode.usage)
  })

  test('is named when a value in it cannot be', async () => {
    const input = await read({ port: 'http', 'lease-ms': 0 })
    expect(() => input.whole('port')).toThrow(`"port" in ${file} needs a whole number, not "http"`)
    expect(() => input.durationMs('lease-ms', { min: 1 })).toThrow(`"lease-ms" in ${file} must be at least 1, not 0`)
  })

  test('that cannot be read is no wrong usage', async () => {
    const failure = describeFailure(
      await completeFromFile(typed(), join(directory, 'none'), OPTIONS).catch((error) => error),
    )
    expect(failure).toMatchObject({ reason: 'ENOENT', exitCode: ExitCode.failed })
  })

  test('is written from options, and read again', async () => {
    const args = ['--port', '4601', '--lease-ms', '20s', '--allowed-host', 'a', '--allowed-host', 'b', '--no-metrics']
    const text = toConfigFile(typed(...args, '--key-file', '/etc/server.key', '--config', 'x'), OPTIONS)
    expect(JSON.parse(text)).toEqual({
      port: 4601,
      'lease-ms': '20s',
      'key-file': '/etc/server.key',
      'allowed-host': ['a', 'b'],
      metrics: false,
    })
    expect(toConfigFile(await read(text), OPTIONS)).toBe(text)
  })
})
