import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type ClusterLayout } from '../cluster/cluster.ts'
import type { ClusterCommand } from '../cluster/cluster-commands.ts'
import { type ClusterDisplay, JsonDisplay, ScreenDisplay } from '../cluster/cluster-display.ts'
import { readCommands } from '../cluster/cluster-input.ts'
import type { Command, CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { describeFailure, UsageError } from '../failure.ts'

const DEFAULT_SERVERS = 3
const MAX_SERVERS = 32
const DEFAULT_PORT = 4_600
const SCREEN_MS = 500
const JSON_MS = 1_000

export const cluster: Command = {
  description:
    'Runs several servers on this machine that work as one, each in a process of its own, and shows how each of them sees the others. Servers can be killed, suspended and restarted to see what happens; `mesh chat` at two of them shows what peers notice of it. Without a terminal it prints JSON, a view a second, and reads commands from stdin: "kill 2", "restart 2", "suspend 2", "continue 2", "quit".',
  arguments: [],
  options: {
    servers: { short: 'n', value: 'count', meaning: 'how many', fallback: String(DEFAULT_SERVERS) },
    port: {
      short: 'p',
      value: 'port',
      meaning: 'port of the first server, the others follow; 0 for any free ones',
      fallback: String(DEFAULT_PORT),
    },
    config: { value: 'file', meaning: 'further options of `mesh serve` for all of them, such as limits, as JSON' },
    folder: {
      value: 'folder',
      meaning: 'where keys and logs are kept',
      fallback: 'a temporary one, removed at the end',
    },
    'until-eof': { meaning: 'stop when stdin ends: with the program that started this one' },
  },
  examples: [
    { command: 'mesh cluster', meaning: 'three servers; k 2 kills the second, r 2 restarts it' },
    { command: 'mesh chat mesh://127.0.0.1:4601/our-party', meaning: 'in another terminal: a peer at the second' },
    { command: 'mesh cluster --servers 10 --port 0 --json', meaning: 'ten, for a program' },
  ],
  async run(context) {
    const { input } = context
    const servers = input.whole('servers', { min: 2, max: MAX_SERVERS }) ?? DEFAULT_SERVERS
    const port = input.whole('port', { max: 65_535 }) ?? DEFAULT_PORT
    if (port + servers > 65_536) throw new UsageError(`there are no ${servers} ports from ${port} on`)
    const given = input.text('folder')
    const folder = given === undefined ? await mkdtemp(join(tmpdir(), 'mesh-cluster-')) : resolve(given)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    try {
      const config = input.text('config')
      const options = config === undefined ? [] : ['--config', config]
      await run(context, { servers, port, folder, options })
      return ExitCode.ok
    } finally {
      if (given === undefined) await rm(folder, { recursive: true, force: true })
    }
  },
}

/** Starts the servers, shows them and does what it is told until somebody has enough. */
async function run(context: CommandContext, layout: ClusterLayout): Promise<void> {
  const { input, output, interrupts } = context
  const display = output.interactive ? new ScreenDisplay(output) : new JsonDisplay(output)
  const quit = new AbortController()
  const over = AbortSignal.any([interrupts.signal, quit.signal])
  const servers = await Cluster.prepare(layout, context.program, display)
  const obey = (command: ClusterCommand): void => {
    if (command.verb === 'quit') return quit.abort()
    servers.obey(command).catch((error: unknown) => display.problem(describeFailure(error).message))
  }
  const ended = (): void => {
    if (input.flag('until-eof')) quit.abort()
  }
  const release = readCommands(context, layout.servers, display, { obey, ended })
  try {
    await servers.start()
    display.ready(servers.servers)
    await show(servers, display, output.interactive ? SCREEN_MS : JSON_MS, over)
  } catch (error) {
    // Ctrl+C reaches the servers too: those that had not started yet never will.
    if (!over.aborted) throw error
  } finally {
    release()
    await servers.stop()
    display.close()
  }
}

async function show(servers: Cluster, display: ClusterDisplay, everyMs: number, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    display.view(await servers.look())
    await delay(everyMs, undefined, { signal: over }).catch(() => {}) // Over: the loop sees it.
  }
}
