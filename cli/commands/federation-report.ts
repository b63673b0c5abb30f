import type { LogFields, Logger } from '@mesh/server'
import type { Output } from '../terminal/output.ts'
import { printable } from '../terminal/style.ts'

/** Streams between two servers: one for the directory, one for messages. */
const CHANNELS = 2

/**
 * Tells which servers come, go and are turned away, from what the server logs about its streams: one that has both of its
 * streams is connected. Where people read both, the log is spared what they were told. A server is forgotten when it has
 * no stream left, so there are never more than the server itself admits.
 */
export function reportFederation(log: Logger, output: Output): Logger {
  const channels = new Map<string, Set<string>>()
  /** Failures that were told since the last connection. */
  const told = new Set<string>()
  const spared = output.interactive && output.logsToScreen

  const up = (server: string, channel: string): void => {
    const open = channels.get(server) ?? new Set()
    channels.set(server, open.add(channel))
    told.clear()
    if (open.size < CHANNELS) return
    output.event('server-connected', { server }, `${output.style.good('Connected')} with ${short(server)}.`)
  }
  /** The first time since the last connection: all is tried again and again, and once is enough. */
  const isNews = (key: string): boolean => {
    if (told.has(key)) return false
    if (told.size >= MAX_TOLD) told.clear()
    told.add(key)
    return true
  }
  const down = (server: string, channel: string, reason: string): void => {
    const open = channels.get(server)
    if (open === undefined && isNews(`${server} unreachable`)) {
      const text = `${output.style.warning('Not reached yet')}: ${short(server)}: ${reason}`
      output.event('server-unreachable', { server, reason }, text)
    }
    if (open?.size === CHANNELS) {
      output.event('server-lost', { server, reason }, `${output.style.warning('Lost')} ${short(server)}: ${reason}`)
      told.add(`${server} unreachable`)
    }
    open?.delete(channel)
    if (open?.size === 0) channels.delete(server)
  }
  const refused = (server: string | undefined, { by, reason, message }: LogFields): void => {
    if (!isNews(`${server} ${by} ${reason}`)) return
    const why = printable(String(message ?? reason))
    const hint = by === 'there' ? HINTS.get(String(reason)) : undefined
    const text =
      by === 'there'
        ? `${output.style.bad('Refused')} by ${short(server)}: ${why}${hint === undefined ? '' : `. ${hint}`}`
        : `${output.style.bad('Refused')} ${short(server)}: ${why}`
    output.event('server-refused', { server, by: by ?? 'here', reason, message }, text)
  }

  return (level, event, fields = {}) => {
    const server = fields.server === undefined ? undefined : printable(String(fields.server))
    const channel = String(fields.channel ?? '')
    const reason = printable(String(fields.message ?? fields.reason ?? 'the connection ended'))
    if (event === 'federation_refused') refused(server, fields)
    else if (event === 'federation_up' && server !== undefined) up(server, channel)
    else if (event === 'federation_down' && server !== undefined) down(server, channel, reason)
    else return log(level, event, fields)
    if (!spared) log(level, event, fields)
  }
}

/** Enough of a key to tell servers apart on a screen; one that did not get so far as to prove its key has none. */
function short(server: string | undefined): string {
  if (server === undefined) return 'a server'
  return `server ${server.length > 9 ? `${server.slice(0, 8)}…` : server}`
}

/** Failures that are remembered; then all are forgotten and told again. */
const MAX_TOLD = 100

/** What to do about being turned away. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['NODE_NOT_ALLOWED', 'It must be given the key of this server, with --federate or --federate-allow.'],
  ['REALM_MISMATCH', 'Both need the same --realm.'],
])
