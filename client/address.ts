import { ErrorReason, fromHex, MeshError, openParty, type Party, partyFromName, partyFromPublicKey } from '@mesh/core'

/** Which party, in the forms `join` takes. */
export type PartyInput =
  /** A name: everybody who knows the name is a member (the party's key is derived from it). */
  | string
  /** The party's Ed25519 public key, 32 bytes: knowing it is the capability to join. */
  | Uint8Array
  /** A bare topic, 32 bytes: open to everybody who knows it, and to the server. */
  | { readonly topic: Uint8Array }
  | Party

export interface MeshAddress {
  /** Origins of the signaling servers, for example "https://mesh.example": at least one, each once. */
  readonly origins: readonly string[]
  /** Name, public key or topic from the path; undefined when the address names servers only. */
  readonly party: PartyInput | undefined
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i
const DEFAULT_LOOPBACK_PORT = '4600'

function invalid(text: string, why: string, cause?: unknown): MeshError {
  return new MeshError(ErrorReason.ADDRESS_INVALID, `address "${text.slice(0, 200)}" ${why}`, { cause })
}

/**
 * Reads `mesh://host[:port]/party`, or with several servers `mesh://host[:port],host[:port]/party`.
 *
 * `mesh://` means TLS, except for loopback hosts, where it means plaintext and port 4600. `mesh+http://` and `mesh+https://`
 * (or plain `http://`, `https://`) say it explicitly. The path is a party name, `key/<64 hex>` for a party public key, or
 * `topic/<64 hex>` for a bare topic. Throws ADDRESS_INVALID saying which part is wrong.
 */
export function parseMeshAddress(text: string): MeshAddress {
  const match = /^(mesh|mesh\+https?|https?):\/\/([^/?#]+)(?:\/([^?#]*))?$/.exec(text)
  if (!match) throw invalid(text, 'is not of the form mesh://host[:port]/party')
  const [, scheme = '', authorities = '', path = ''] = match
  const origins = new Set(authorities.split(',').map((authority) => originOf(text, scheme, authority)))
  return { origins: [...origins], party: path === '' ? undefined : parsePath(text, path) }
}

function originOf(text: string, scheme: string, authority: string): string {
  if (authority.includes('@')) throw invalid(text, 'holds credentials; an address carries only host and port')
  const host = authority.replace(/:\d+$/, '').toLowerCase()
  const loopback = isLoopbackHost(host)
  const secure = scheme === 'mesh' ? !loopback : scheme.endsWith('https')
  let url: URL
  try {
    url = new URL(`${secure ? 'https' : 'http'}://${authority}`)
  } catch (cause) {
    throw invalid(text, 'has no valid host and port', cause)
  }
  if (scheme === 'mesh' && loopback && url.port === '' && !/:\d+$/.test(authority)) url.port = DEFAULT_LOOPBACK_PORT
  return url.origin
}

/** True for names of this machine itself; an IPv6 address is in brackets. */
export function isLoopbackHost(host: string): boolean {
  return LOOPBACK.test(host)
}

function parsePath(text: string, path: string): PartyInput {
  const [kind = '', value, ...rest] = path.replace(/\/$/, '').split('/')
  if (rest.length > 0) throw invalid(text, 'has more than one party in its path')
  if (value === undefined) return decodeName(text, kind)
  if (kind !== 'key' && kind !== 'topic')
    throw invalid(text, `has the unknown path "${kind}/"; use a name, key/ or topic/`)
  if (!/^[0-9a-f]{64}$/i.test(value))
    throw invalid(text, `needs 64 hexadecimal digits after ${kind}/, found ${value.length}`)
  const bytes = fromHex(value.toLowerCase())
  return kind === 'key' ? bytes : { topic: bytes }
}

function decodeName(text: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded).normalize('NFC')
  } catch (cause) {
    throw invalid(text, 'has a broken % escape in its party name', cause)
  }
}

/** Turns any form of party into its topic and keys. Throws ADDRESS_INVALID or KEY_INVALID. */
export async function resolveParty(input: PartyInput): Promise<Party> {
  if (typeof input === 'string') return partyFromName(input)
  if (input instanceof Uint8Array) return partyFromPublicKey(input)
  if ('psk' in input) return input
  return openParty(input.topic)
}

/** Each of them has its part in every message and every membership: more would cost more than they can be worth. */
const MAX_SERVERS = 8

/**
 * The origins of the servers an application gives: each an origin, or a mesh address without a party. Throws ADDRESS_INVALID, or
 * CONFIGURATION when there is none, or more than 8.
 */
export function serverOrigins(servers: string | readonly string[]): string[] {
  const texts = typeof servers === 'string' ? [servers] : servers
  const origins = [...new Set(texts.flatMap(originsOfServer))]
  if (origins.length > 0 && origins.length <= MAX_SERVERS) return origins
  const problem = origins.length === 0 ? 'no signaling server is given' : 'too many signaling servers are given'
  const facts = { limit: 'servers', limitValue: MAX_SERVERS, value: origins.length }
  throw new MeshError(ErrorReason.CONFIGURATION, `${problem}; it takes 1 to ${MAX_SERVERS}`, facts)
}

function originsOfServer(text: string): readonly string[] {
  const { origins, party } = parseMeshAddress(text.replace(/\/$/, ''))
  if (party !== undefined) throw invalid(text, 'names a party where only a server is expected')
  return origins
}
