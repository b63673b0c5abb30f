import { ErrorReason, MeshError, toHex } from '@mesh/core'
import {
  createServer,
  formatServerAddress,
  jsonLogger,
  type Logger,
  type MeshServer,
  type ServerAddress,
  type ServerOptions,
  silentLogger,
} from '@mesh/server'
import type { Command, CommandContext } from '../command.ts'
import { completeFromFile, toConfigFile } from '../config-file.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, systemErrorCode, UsageError } from '../failure.ts'
import { defaultServerKeyFile, openServerKey } from '../server-key.ts'
import type { Output } from '../terminal/output.ts'
import { reportFederation } from './federation-report.ts'
import { readServeOptions, SERVE_OPTIONS } from './serve-options.ts'

/** The server's defaults, for messages. */
const DEFAULT_HOST = '127.0.0.1'
const DEFAULT_PORT = 4_600
const LOG_LEVELS = ['info', 'warn', 'error'] as const

export const serve: Command = {
  description:
    'Runs a signaling server: peers find each other through it, and talk through it until they are connected directly. It keeps nothing but its own key; what peers say to each other it cannot read. Logs are JSON on stderr. SIGTERM or Ctrl+C tells the peers, lets them finish and exits with 0; a second one exits at once.',
  arguments: [],
  options: SERVE_OPTIONS,
  examples: [
    { command: 'mesh serve', meaning: 'for this machine only' },
    { command: 'mesh serve --port 0 --json', meaning: 'any free port, told as JSON' },
    {
      command: 'mesh serve --host 0.0.0.0 --port 443 --tls-cert cert.pem --tls-key key.pem --allowed-host mesh.example',
      meaning: 'for everybody, with TLS',
    },
    {
      command: 'mesh serve --host 10.0.0.5 --allowed-host mesh.example --trusted-proxies 1 --max-sessions 5000',
      meaning: 'behind a proxy that ends TLS',
    },
    {
      command: 'mesh serve --port 4601 --federate mesh+grpc://d75a…511a@a.example:4600 --federate-allow 3d40…660c',
      meaning: 'together with two others, of which one calls',
    },
    { command: 'mesh serve --config /etc/mesh/server.json', meaning: 'with options from a file' },
  ],
  async run(context) {
    const file = context.input.text('config')
    const input = file === undefined ? context.input : await completeFromFile(context.input, file, SERVE_OPTIONS)
    const options = await readServeOptions(input)
    const log = reportFederation(chooseLog({ ...context, input }), context.output)
    if (input.flag('print-config')) {
      createServer(options) // Nothing starts; it throws for what cannot work.
      context.output.text(toConfigFile(input, SERVE_OPTIONS))
      return ExitCode.ok
    }
    const keyFile = input.text('key-file') ?? defaultServerKeyFile(context.env)
    const server = createServer({ ...options, key: await openServerKey(keyFile), log })
    const address = await listen(server, options.host ?? DEFAULT_HOST, options.port ?? DEFAULT_PORT)
    announce(context, { address, publicKey: await server.publicKey, keyFile, options })
    await untilStopped({ ...context, input })
    await stop(server, context.output)
    return ExitCode.ok
  },
}

/** Resolves at Ctrl+C, at SIGTERM and, where that was asked for, at the end of stdin. */
async function untilStopped({ input, stdin, interrupts }: CommandContext): Promise<void> {
  const onEnd = (): void => {
    if (!interrupts.signal.aborted) interrupts.trigger('SIGTERM')
  }
  if (input.flag('until-eof')) stdin.once('close', onEnd).resume()
  await new Promise<void>((resolve) => {
    if (interrupts.signal.aborted) resolve()
    else interrupts.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  stdin.pause()
}

async function stop(server: MeshServer, output: Output): Promise<void> {
  const { sessions } = server.stats()
  const told = sessions === 1 ? '1 session is' : `${sessions} sessions are`
  output.event('draining', { sessions }, `Draining: ${told} told to move on. Ctrl+C again exits at once.`)
  await server.close()
  output.event('stopped', {}, 'Stopped.')
}

function chooseLog({ input, output }: CommandContext): Logger {
  const level = input.text('log') ?? (output.logsToScreen ? 'warn' : 'info')
  if (level === 'none') return silentLogger
  const least = LOG_LEVELS.indexOf(level as (typeof LOG_LEVELS)[number])
  if (least < 0) throw new UsageError(`--log needs info, warn, error or none, not "${level}"`)
  const write = jsonLogger((line) => output.log(line))
  return (entryLevel, event, fields) => {
    if (LOG_LEVELS.indexOf(entryLevel) >= least) write(entryLevel, event, fields)
  }
}

async function listen(server: MeshServer, host: string, port: number): Promise<ServerAddress> {
  try {
    return await server.listen()
  } catch (cause) {
    const code = systemErrorCode(cause)
    if (code === 'EADDRINUSE') {
      const hint = 'Another server may be running already. --port 0 takes any free port.'
      throw new CommandError(code, `port ${port} of ${host} is in use`, { hint, cause })
    }
    if (code === 'EACCES') {
      throw new CommandError(code, `this user may not listen on port ${port} of ${host}`, { cause })
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new CommandError(code, `${host} is not an address of this machine`, { cause })
    }
    if (cause instanceof MeshError && cause.reason === ErrorReason.CONFIGURATION) {
      throw new UsageError(cause.message, 'Options have dashes here: allowedHosts is --allowed-host.')
    }
    throw cause
  }
}

interface Started {
  readonly address: ServerAddress
  readonly publicKey: Uint8Array
  readonly keyFile: string
  readonly options: ServerOptions
}

function announce({ output }: CommandContext, { address, publicKey, keyFile, options }: Started): void {
  const { origin, host, port } = address
  const { bold, dim } = output.style
  const federate = formatServerAddress({ key: publicKey, url: origin })
  const { realm, servers = [] } = options.federation ?? {}
  const rows = [
    ['origin', bold(origin)],
    ['public key', toHex(publicKey)],
    ['key file', keyFile],
    ['federate', federate],
    ...(realm === undefined ? [] : [['realm', realm]]),
    ...servers.map((server) => ['calls', formatServerAddress(server)]),
    ['try', `mesh chat ${exampleParty(address)}`],
  ]
  const text = [
    'MESH server is listening.',
    ...rows.map(([label = '', value]) => `  ${dim(label.padEnd(12))}${value}`),
  ].join('\n')
  output.event('listening', { origin, host, port, publicKey: toHex(publicKey), keyFile, federate, realm }, text)
}

/** What to call a party at this server, as short as the defaults of the other commands allow. */
function exampleParty({ origin, host, port }: ServerAddress): string {
  return host === DEFAULT_HOST && port === DEFAULT_PORT ? 'our-party' : `${origin}/our-party`
}
