import { ErrorReason, MeshError } from '@mesh/core'
import type { RtcConfiguration } from '../../connection/rtc.ts'
import type { TransportAddress } from './werift-internals.ts'

/**
 * Which STUN and TURN server a connection uses.
 *
 * werift takes the first STUN and the first TURN URL of a list and ignores the rest, asks a public STUN server when the list
 * is empty, cannot read an IPv6 host, and gathers host candidates under the policy 'relay' when no TURN server is usable. So
 * werift is never given the list: this module reads the URLs (RFC 7064, RFC 7065) and picks one of each kind per connection,
 * another one at every turn, so that a dead server costs one attempt. No URL means that no server is contacted.
 */

/** Servers of one connection. */
export interface IceServers {
  readonly stun: TransportAddress | undefined
  readonly turn: TurnServer | undefined
  /** Only relayed candidates may be used. */
  readonly relayOnly: boolean
}

export interface TurnServer {
  readonly address: TransportAddress
  readonly transport: 'udp' | 'tcp' | 'tls'
  readonly username: string
  readonly credential: string
}

/** More URLs than this are a mistake or an attack, and each one is parsed for every connection. */
const MAX_URLS = 32

const ICE_URL =
  /^(stuns?|turns?):(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?(?:\?transport=(udp|tcp))?$/i

/**
 * Picks the servers of the connection number `turn` (0, 1, 2…) out of a configuration.
 * @throws MeshError INVALID_ARGUMENT for a malformed URL or too many of them; RELAY_CREDENTIALS for a TURN URL without user
 *   name or credential; NO_CANDIDATES when the policy is 'relay' and there is no TURN server.
 */
export function pickIceServers(configuration: RtcConfiguration, turn: number): IceServers {
  const stuns: TransportAddress[] = []
  const turns: TurnServer[] = []
  let urlCount = 0
  for (const server of configuration.iceServers) {
    for (const url of typeof server.urls === 'string' ? [server.urls] : server.urls) {
      urlCount += 1
      if (urlCount > MAX_URLS) {
        throw new MeshError(ErrorReason.INVALID_ARGUMENT, `More than ${MAX_URLS} ICE server URLs`)
      }
      const parsed = parseIceUrl(url)
      if (parsed.scheme === 'stun') stuns.push(parsed.address)
      else turns.push({ ...parsed, ...credentials(url, server) })
    }
  }
  const relayOnly = configuration.iceTransportPolicy === 'relay'
  if (relayOnly && turns.length === 0) {
    throw new MeshError(ErrorReason.NO_CANDIDATES, "The policy 'relay' needs a TURN server, and none is configured")
  }
  return {
    stun: relayOnly ? undefined : stuns[turn % Math.max(1, stuns.length)],
    turn: turns[turn % Math.max(1, turns.length)],
    relayOnly,
  }
}

function parseIceUrl(url: string): {
  scheme: 'stun' | 'turn'
  address: TransportAddress
  transport: TurnServer['transport']
} {
  const match = ICE_URL.exec(url)
  if (match === null) throw new MeshError(ErrorReason.INVALID_ARGUMENT, `Not a STUN or TURN URL: ${url}`)
  const scheme = match[1]!.toLowerCase()
  const secure = scheme.endsWith('s')
  if (scheme === 'stuns') throw new MeshError(ErrorReason.NOT_SUPPORTED, `STUN over TLS is not supported: ${url}`)
  const port = match[3] === undefined ? (secure ? 5349 : 3478) : Number(match[3])
  if (port < 1 || port > 65_535) throw new MeshError(ErrorReason.INVALID_ARGUMENT, `No such port: ${url}`)
  return {
    scheme: scheme.startsWith('turn') ? 'turn' : 'stun',
    address: [match[2]!.replace(/^\[|\]$/g, ''), port],
    transport: secure ? 'tls' : match[4]?.toLowerCase() === 'tcp' ? 'tcp' : 'udp',
  }
}

function credentials(
  url: string,
  server: { readonly username?: string; readonly credential?: string },
): { username: string; credential: string } {
  if (!server.username || !server.credential) {
    throw new MeshError(ErrorReason.RELAY_CREDENTIALS, `A TURN server needs a user name and a credential: ${url}`)
  }
  return { username: server.username, credential: server.credential }
}
