import { readFile } from 'node:fs/promises'
import {
  type IceServerOptions,
  type LimitUnit,
  type ServerLimits,
  type ServerOptions,
  serverLimits,
  type TurnOptions,
} from '@mesh/server'
import type { Input, OptionTable } from '../args.ts'
import { CommandError, UsageError } from '../failure.ts'
import { FEDERATION, readFederation, readSuccessorKey } from './federation-options.ts'

const MAX_DRAIN_MS = 3_600_000
const MAX_PROXIES = 16

/** Options that say where and for whom the server listens. */
const GENERAL: OptionTable = {
  host: {
    value: 'address',
    meaning: 'address to listen on; others than loopback need --allowed-host',
    fallback: '127.0.0.1',
  },
  port: { value: 'port', short: 'p', meaning: 'port to listen on; 0 for any free one', fallback: '4600' },
  'tls-cert': { value: 'file', meaning: 'certificate chain, PEM; together with --tls-key' },
  'tls-key': { value: 'file', meaning: 'private key of the certificate, PEM' },
  'key-file': {
    value: 'file',
    meaning: 'the server’s identity, created at the first start with mode 0600',
    fallback: '$MESH_HOME/server.key, or ~/.mesh/server.key',
  },
  'allowed-host': {
    value: 'host',
    multiple: true,
    meaning: 'name, with or without port, under which clients reach the server',
  },
  'allowed-origin': { value: 'origin', multiple: true, meaning: 'origin of web pages that may call, or "*"' },
  'trusted-proxies': { value: 'count', meaning: 'proxies in front that append to X-Forwarded-For', fallback: '0' },
  metrics: { meaning: 'serve /metrics and /federation; --no-metrics never does', fallback: 'on loopback only' },
  successor: { value: 'origin', meaning: 'server named to clients when this one stops' },
  'successor-key': {
    value: 'key',
    meaning: 'its public key (64 hex), without which most clients do not go there; known for a --federate',
  },
  drain: { value: 'time', meaning: 'how long streams may finish after SIGTERM or Ctrl+C', fallback: '5s' },
  log: {
    value: 'level',
    meaning: 'least level of the JSON log on stderr: info, warn, error or none',
    fallback: 'warn when stderr is a terminal, info elsewhere',
  },
  config: {
    value: 'file',
    meaning: 'JSON object with any of these options, named without dashes; the command line wins',
    commandLineOnly: true,
  },
  'print-config': {
    meaning: 'check the options, print them as --config takes them, and start nothing',
    commandLineOnly: true,
  },
  'until-eof': {
    meaning: 'stop when stdin ends: with the program that started this one',
    commandLineOnly: true,
  },
}

const ICE: OptionTable = {
  'stun-url': {
    group: 'Help with direct connections',
    value: 'url',
    multiple: true,
    meaning: 'STUN server told to peers',
  },
  'turn-url': {
    group: 'Help with direct connections',
    value: 'url',
    multiple: true,
    meaning: 'TURN server told to peers',
  },
  'turn-secret-file': {
    group: 'Help with direct connections',
    value: 'file',
    meaning: 'file with the secret shared with the TURN server (coturn: static-auth-secret)',
  },
  'turn-secret': {
    group: 'Help with direct connections',
    value: 'secret',
    meaning: 'the secret itself; other users of this machine can see it in the list of processes',
  },
}

const TYPED_UNITS: Partial<Record<LimitUnit, readonly (readonly [size: number, symbol: string])[]>> = {
  bytes: [
    [1_024 ** 2, 'MiB'],
    [1_024, 'KiB'],
  ],
  ms: [
    [3_600_000, 'h'],
    [60_000, 'm'],
    [1_000, 's'],
    [1, 'ms'],
  ],
}

const LIMITS_GROUP = 'Limits (ms take 10s or 2m too, bytes take 64KiB or 1MB too)'

/** One option per row of the server's own table: `maxMessageBytes` is --max-message-bytes. */
const LIMITS: OptionTable = Object.fromEntries(
  serverLimits.map(({ name, wireName, unit, meaning, defaultValue }) => [
    limitOption(wireName),
    {
      group: LIMITS_GROUP,
      value: unit === 'ms' || unit === 'bytes' ? unit : 'count',
      meaning: meaning || name,
      fallback: typedValue(defaultValue, unit),
    },
  ]),
)

/** A default in the shortest form that the option takes: "64KiB", "15s", "100000". */
function typedValue(value: number, unit: LimitUnit): string {
  const [step, symbol] = (TYPED_UNITS[unit] ?? []).find(([size]) => value % size === 0) ?? [1, '']
  return `${value / step}${symbol}`
}

export const SERVE_OPTIONS: OptionTable = { ...GENERAL, ...FEDERATION, ...ICE, ...LIMITS }

/** What the options say, without identity and log. Rejects with a UsageError, or when a file cannot be read. */
export async function readServeOptions(input: Input): Promise<ServerOptions> {
  const tls = await readTls(input)
  const turn = await readTurn(input)
  const federation = readFederation(input, await readOptionalFile(input, 'federate-ca'))
  const stunUrls = input.list('stun-url')
  const iceServers: IceServerOptions[] = stunUrls.length === 0 ? [] : [{ urls: stunUrls }]
  const options = {
    host: input.text('host'),
    port: input.whole('port', { max: 65_535 }),
    tls,
    turn,
    iceServers,
    limits: readLimits(input),
    allowedHosts: optionalList(input, 'allowed-host'),
    allowedOrigins: optionalList(input, 'allowed-origin'),
    trustedProxies: input.whole('trusted-proxies', { max: MAX_PROXIES }),
    metrics: input.flag('metrics'),
    federation,
    successor: input.text('successor'),
    successorKey: readSuccessorKey(input, federation),
    drainMs: input.durationMs('drain', { max: MAX_DRAIN_MS }),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function readLimits(input: Input): Partial<ServerLimits> {
  const limits: Partial<Record<keyof ServerLimits, number>> = {}
  for (const { name, wireName, unit } of serverLimits) {
    const value = readLimit(input, limitOption(wireName), unit)
    if (value !== undefined) limits[name] = value
  }
  return limits
}

function readLimit(input: Input, option: string, unit: string): number | undefined {
  if (unit === 'ms') return input.durationMs(option, { min: 1, bareUnitMs: 1 })
  return unit === 'bytes' ? input.bytes(option, { min: 1 }) : input.whole(option, { min: 1 })
}

function limitOption(wireName: string): string {
  return wireName.replaceAll('_', '-')
}

async function readTls(input: Input): Promise<ServerOptions['tls']> {
  const certFile = input.text('tls-cert')
  const keyFile = input.text('tls-key')
  if (certFile === undefined && keyFile === undefined) return undefined
  if (certFile === undefined || keyFile === undefined) {
    throw new UsageError('--tls-cert and --tls-key belong together', 'Give both, or neither for plain HTTP.')
  }
  return { cert: await readNamedFile('--tls-cert', certFile), key: await readNamedFile('--tls-key', keyFile) }
}

async function readTurn(input: Input): Promise<TurnOptions | undefined> {
  const urls = input.list('turn-url')
  const file = input.text('turn-secret-file')
  const given = input.text('turn-secret')
  if (file !== undefined && given !== undefined) {
    throw new UsageError('--turn-secret and --turn-secret-file cannot both be given')
  }
  const secret = file === undefined ? given : (await readNamedFile('--turn-secret-file', file)).toString('utf8').trim()
  if (urls.length === 0 && secret === undefined) return undefined
  if (urls.length === 0 || !secret) throw new UsageError('--turn-url and --turn-secret-file belong together')
  return { urls, secret }
}

async function readOptionalFile(input: Input, name: string): Promise<Buffer | undefined> {
  const file = input.text(name)
  return file === undefined ? undefined : readNamedFile(input.label(name), file)
}

async function readNamedFile(option: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException
    throw new CommandError(code, `${option}: ${file} cannot be read (${code})`, { cause })
  }
}

function optionalList(input: Input, name: string): readonly string[] | undefined {
  const values = input.list(name)
  return values.length === 0 ? undefined : values
}
