import { checkPublicKey, compareBytes, ErrorReason, MeshError, toHex, utf8Encode } from '@mesh/core'
import type { ServerLimits } from '../../limits/server-limits.ts'
import type { ServerAddress } from './trunk/trunk.ts'

/** Which servers this one works with. */
export interface FederationOptions {
  /** Servers replicate within one realm, and refuse others: 1 to 64 bytes of UTF-8. */
  readonly realm: string
  /** Servers that this one calls, and whose calls it takes; `parseServerAddress` reads what operators exchange. */
  readonly servers: readonly ServerAddress[]
  /** Public keys of further servers whose calls are taken. Default: none. */
  readonly allowed?: readonly Uint8Array[]
  /** Certificates, PEM, that sign those of other servers. Default: the authorities that Node trusts. */
  readonly ca?: string | Buffer
}

/** Hello.realm: "at most 64 bytes of UTF-8". */
const MAX_REALM_BYTES = 64

/**
 * The options, once they can work. `own`: this server's key, when it is known before it starts.
 * @throws MeshError CONFIGURATION naming the value that cannot be.
 */
export function checkFederation(
  options: FederationOptions,
  { federationMaxServers }: ServerLimits,
  own: Uint8Array | undefined,
): FederationOptions {
  checkRealm(options.realm)
  const seen = new Set<string>()
  for (const { key, url } of options.servers) {
    checkKey(key, own)
    checkUrl(url)
    if (seen.has(toHex(key))) throw wrong(`server ${toHex(key)} is named twice; a server has one address`)
    seen.add(toHex(key))
  }
  for (const key of options.allowed ?? []) {
    checkKey(key, own)
    seen.add(toHex(key))
  }
  if (seen.size > federationMaxServers) {
    throw wrong(`${seen.size} servers are named, and federationMaxServers is ${federationMaxServers}`)
  }
  return options
}

function checkRealm(realm: string): void {
  const bytes = utf8Encode(realm).length
  if (bytes >= 1 && bytes <= MAX_REALM_BYTES && realm.isWellFormed()) return
  throw wrong(`the realm has 1 to ${MAX_REALM_BYTES} bytes of UTF-8, not ${bytes}`)
}

function checkKey(key: Uint8Array, own: Uint8Array | undefined): void {
  try {
    checkPublicKey(key)
  } catch (cause) {
    throw wrong(`"${toHex(key).slice(0, 80)}" cannot be the key of a server`, cause)
  }
  if (own !== undefined && compareBytes(key, own) === 0) {
    throw wrong(`${toHex(key)} is this server's own key; name only the others`)
  }
}

function checkUrl(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const called = parsed?.protocol === 'http:' || parsed?.protocol === 'https:'
  if (called && (url === parsed.origin || url === `${parsed.origin}/`)) return
  throw wrong(`"${url.slice(0, 200)}" is not where a server is called; that is an origin like https://b.example:4600`)
}

function wrong(message: string, cause?: unknown): MeshError {
  return new MeshError(ErrorReason.CONFIGURATION, `federation: ${message}`, cause === undefined ? {} : { cause })
}
