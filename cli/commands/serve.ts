import { ErrorReason, MeshError, toHex } from '@mesh/core'
import { createServer, jsonLogger, type Logger, type MeshServer, type ServerAddress, silentLogger } from '@mesh/server'
import type { Command, CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, systemErrorCode, UsageError } from '../failure.ts'
import { defaultServerKeyFile, openServerKey } from '../server-key.ts'
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
  ],
  async run(context) {
    const { input, env, output, interrupts } = context
    const keyFile = input.text('key-file') ?? defaultServerKeyFile(env)
    const options = await readServeOptions(input)
    const log = chooseLog(context)
    const server = createServer({ ...options, key: await openServerKey(keyFile), log })
    const address = await listen(server, options.host ?? DEFAULT_HOST, options.port ?? DEFAULT_PORT)
    announce(context, address, toHex(await server.publicKey), keyFile)
    await new Promise<void>((resolve) => {
      if (interrupts.signal.aborted) resolve()
      else interrupts.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    const { sessions } = server.stats()
    const told = sessions === 1 ? '1 session is' : `${sessions} sessions are`
    output.event('draining', { sessions }, `Draining: ${told} told to move on. Ctrl+C again exits at once.`)
    await server.close()
    output.event('stopped', {}, 'Stopped.')
    return ExitCode.ok
  },
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

function announce({ output }: CommandContext, address: ServerAddress, publicKey: string, keyFile: string): void {
  const { origin, host, port } = address
  const { bold, dim } = output.style
  const rows = [
    ['origin', bold(origin)],
    ['public key', publicKey],
    ['key file', keyFile],
    ['try', `mesh chat ${exampleParty(address)}`],
  ]
  const text = [
    'MESH server is listening.',
    ...rows.map(([label = '', value]) => `  ${dim(label.padEnd(12))}${value}`),
  ].join('\n')
  output.event('listening', { origin, host, port, publicKey, keyFile }, text)
}

/** What to call a party at this server, as short as the defaults of the other commands allow. */
function exampleParty({ origin, host, port }: ServerAddress): string {
  return host === DEFAULT_HOST && port === DEFAULT_PORT ? 'our-party' : `${origin}/our-party`
}
