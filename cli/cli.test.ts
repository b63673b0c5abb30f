import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type CliProcess, runCli } from './cli.ts'
import { TextBuffer } from './terminal/text-buffer.fixture.ts'

async function run(...args: string[]) {
  const stdout = new TextBuffer({ columns: 100 })
  const stderr = new TextBuffer()
  const host = Object.assign(new EventEmitter(), {
    stdin: new PassThrough(),
    stdout,
    stderr,
    env: {},
    execPath: 'node',
    execArgv: [],
    argv: ['node', 'mesh'],
    exit: (code: number) => {
      throw new Error(`exited with ${code}`)
    },
  })
  const code = await runCli(args, host as unknown as CliProcess)
  return { code, stdout, stderr, out: stdout.text, err: stderr.text }
}

const COMMANDS = ['serve', 'cluster', 'chat', 'peers', 'send', 'receive', 'id']

describe('help', () => {
  test.each([['--help'], ['-h'], ['help']])('mesh %s shows every command and exits with 0', async (...args) => {
    const { code, out, err } = await run(...args)
    expect([code, err]).toEqual([0, ''])
    for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
    expect(out).toContain('Exit codes')
  })

  test('is also what a bare mesh shows, as wrong usage', async () => {
    const { code, out } = await run()
    expect(code).toBe(2)
    expect(out).toContain('mesh <command>')
  })

  test.each(COMMANDS)('of mesh %s has usage, options, examples and exit codes', async (name) => {
    const { code, out } = await run(name, '--help')
    expect(code).toBe(0)
    for (const title of ['Usage', 'Options', 'Examples', 'Exit codes'])
      expect(out).toMatch(new RegExp(`^${title}$`, 'm'))
    expect(out).toMatch(new RegExp(`^ {2}mesh ${name} `, 'm'))
    expect(out).toContain('--json')
    expect((await run('help', name)).out).toBe(out)
  })

  test.each(COMMANDS)('of mesh %s fits into 100 columns', async (name) => {
    const { stdout } = await run(name, '--help')
    const examples = stdout.lines.indexOf('Examples')
    expect(stdout.lines.slice(0, examples).filter((line) => line.length > 100)).toEqual([])
  })

  test('wins over other mistakes of the command line', async () => {
    expect((await run('chat', '--colour', '--help')).code).toBe(0)
  })

  test('of mesh serve has every limit of the server with its default', async () => {
    const { out } = await run('serve', '--help')
    expect(out).toMatch(/--max-message-bytes <bytes> +payload of one envelope \(default 64KiB\)/)
    expect(out).toMatch(/--lease-ms <ms> .*\(default 15s\)/)
    expect(out).toMatch(/--max-sessions <count> .*\(default 100000\)/)
  })
})

describe('wrong usage', () => {
  test.each([
    [['caht'], 'mesh: there is no command "caht"\nDid you mean `mesh chat`?\n'],
    [['dance'], 'mesh: there is no command "dance"\n`mesh --help` lists the commands.\n'],
    [['--port', '1'], 'mesh: unknown option --port\nOptions of a command follow its name: mesh <command> [options]\n'],
    [['chat', 'p', '--sever', 'x'], 'mesh chat: unknown option --sever\nDid you mean --server?\n'],
    [['chat'], 'mesh chat: <party> is missing\n`mesh chat --help` says how to use it.\n'],
    [['send', 'p'], 'mesh send: <file> is missing\n`mesh send --help` says how to use it.\n'],
    [['serve', '--port', 'http'], 'mesh serve: --port needs a whole number, not "http"\n'],
    [['serve', '--lease-ms', '0'], 'mesh serve: --lease-ms must be at least 1, not 0\n'],
    [['id', '--name', 'Über'], 'mesh id: "Über" cannot be the name of an identity: use 1 to 64 of a-z, 0-9 and -\n'],
    [
      ['receive', 'p'],
      'mesh receive: there is no terminal to ask whether a file is welcome\nGive --yes to accept without asking.\n',
    ],
  ])('%j is explained on stderr and exits with 2', async (args, message) => {
    const { code, out, err } = await run(...args)
    expect({ code, out, err }).toEqual({ code: 2, out: '', err: message })
  })

  test('is a JSON object on stdout where JSON was asked for', async () => {
    const { code, stdout, err } = await run('chat', '--json')
    expect([code, err]).toEqual([2, ''])
    expect(stdout.events).toEqual([
      {
        event: 'error',
        reason: 'USAGE',
        message: '<party> is missing',
        hint: '`mesh chat --help` says how to use it.',
        exitCode: 2,
      },
    ])
  })
})

describe('version', () => {
  test.each([['--version'], ['-V']])('mesh %s prints it', async (option) => {
    expect((await run(option)).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  test('is a JSON object where JSON was asked for', async () => {
    expect((await run('--version', '--json')).stdout.events).toMatchObject([{ event: 'version' }])
  })
})
