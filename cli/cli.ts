import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseInput } from './args.ts'
import { type Command, type CommandEntry, type Example, rulesOf } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { describeFailure, UsageError } from './failure.ts'
import { renderHelp, renderOverview } from './help.ts'
import { Interrupts, type SignalSource } from './interrupts.ts'
import { suggest } from './suggestion.ts'
import { Output, type TextStream } from './terminal/output.ts'

/** What the command line is given by its process. */
export interface CliProcess extends SignalSource {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WritableStream & TextStream
  readonly stderr: TextStream
  readonly env: Readonly<Record<string, string | undefined>>
  readonly execPath: string
  readonly execArgv: readonly string[]
  readonly argv: readonly string[]
}

const COMMANDS: ReadonlyMap<string, CommandEntry> = new Map([
  ['serve', { summary: 'run a signaling server', load: async () => (await import('./commands/serve.ts')).serve }],
  [
    'cluster',
    {
      summary: 'run several servers that work as one, and watch them',
      load: async () => (await import('./commands/cluster.ts')).cluster,
    },
  ],
  [
    'chat',
    { summary: 'join a party and talk in the terminal', load: async () => (await import('./commands/chat.ts')).chat },
  ],
  [
    'peers',
    {
      summary: 'list the peers of a party, or watch them',
      load: async () => (await import('./commands/peers.ts')).peers,
    },
  ],
  [
    'send',
    { summary: 'send a file to a peer of a party', load: async () => (await import('./commands/send.ts')).send },
  ],
  ['receive', { summary: 'receive a file', load: async () => (await import('./commands/receive.ts')).receive }],
  [
    'id',
    { summary: 'show this machine’s identity, or create it', load: async () => (await import('./commands/id.ts')).id },
  ],
])

const EXAMPLES: readonly Example[] = [
  { command: 'mesh serve', meaning: 'a server on this machine' },
  { command: 'mesh chat our-party', meaning: 'talk; in two terminals' },
  { command: 'mesh send our-party photo.jpg', meaning: 'send a file to whoever runs `mesh receive our-party`' },
]

/** Runs one command line, without "node" and the program's name. Never rejects; resolves to the exit code. */
export async function runCli(args: readonly string[], host: CliProcess): Promise<ExitCode> {
  const [name, ...rest] = args
  // Before anything is parsed, so that even a wrong command line is answered in JSON where that was asked for.
  const json = args.slice(0, endOfOptions(args)).includes('--json')
  const output = new Output({ stdout: host.stdout, stderr: host.stderr, json, env: host.env })
  try {
    const builtIn = await runBuiltIn(name, rest, output)
    if (builtIn !== undefined) return builtIn
    return await runCommand(name as string, rest, output, host)
  } catch (error) {
    const failure = describeFailure(error)
    output.failure(name !== undefined && COMMANDS.has(name) ? `mesh ${name}` : 'mesh', failure)
    if (host.env.MESH_DEBUG) host.stderr.write(`${inspectCauses(error)}\n`)
    return failure.exitCode
  }
}

/** What the program answers itself: help and version. */
async function runBuiltIn(
  name: string | undefined,
  rest: readonly string[],
  output: Output,
): Promise<ExitCode | undefined> {
  if (name === '--version' || name === '-V') {
    const version = await ownVersion()
    output.event('version', { version }, version)
    return ExitCode.ok
  }
  if (name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    output.text(renderOverview(COMMANDS, EXAMPLES, output.style, output.columns))
    return ExitCode.ok
  }
  if (name === 'help') {
    output.text(await helpFor(rest[0] as string, output))
    return ExitCode.ok
  }
  if (name === undefined) {
    output.text(renderOverview(COMMANDS, EXAMPLES, output.style, output.columns))
    return ExitCode.usage
  }
  return undefined
}

async function runCommand(name: string, rest: readonly string[], output: Output, host: CliProcess): Promise<ExitCode> {
  const command = await loadCommand(name)
  const options = rest.slice(0, endOfOptions(rest))
  if (options.includes('--help') || options.includes('-h')) {
    output.text(renderHelp(name, command, output.style, output.columns))
    return ExitCode.ok
  }
  const input = parseInput(rest, rulesOf(name, command))
  const interrupts = new Interrupts(host)
  const { stdin, stdout, env, execPath, execArgv, argv } = host
  const program = [execPath, ...execArgv, ...argv.slice(1, 2)]
  try {
    return await command.run({ input, output, stdin, stdout, env, program, interrupts })
  } finally {
    interrupts.dispose()
  }
}

async function helpFor(name: string, output: Output): Promise<string> {
  return renderHelp(name, await loadCommand(name), output.style, output.columns)
}

async function loadCommand(name: string): Promise<Command> {
  const entry = COMMANDS.get(name)
  if (entry) return entry.load()
  if (name.startsWith('-'))
    throw new UsageError(`unknown option ${name}`, 'Options of a command follow its name: mesh <command> [options]')
  const close = suggest(name, [...COMMANDS.keys()])
  throw new UsageError(
    `there is no command "${name}"`,
    close === undefined ? '`mesh --help` lists the commands.' : `Did you mean \`mesh ${close}\`?`,
  )
}

/** Index of `--`, after which nothing is an option. */
function endOfOptions(args: readonly string[]): number {
  const index = args.indexOf('--')
  return index < 0 ? args.length : index
}

async function ownVersion(): Promise<string> {
  const manifest = await readFile(fileURLToPath(import.meta.resolve('#package')), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** For MESH_DEBUG: the error with its stack, and what caused it. */
function inspectCauses(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by: ${inspectCauses(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}
