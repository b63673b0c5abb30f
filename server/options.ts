import { type Clock, ErrorReason, MeshError, type Random, type SigningKey, systemClock, systemRandom } from '@mesh/core'
import { checkFederation, type FederationOptions } from './backplane/federation/federation-options.ts'
import type { NodeHandler } from './http/request.ts'
import { resolveLimits, type ServerLimits } from './limits/server-limits.ts'
import { type Logger, silentLogger } from './ops/log.ts'
import type { IceServerOptions, TurnOptions } from './session/ice-servers.ts'

/** Everything `createServer` takes; every field has a default. */
export interface ServerOptions {
  /** Address to bind to. Default "127.0.0.1". */
  readonly host?: string
  /** Port to listen on; 0 for any free one. Default 4600. */
  readonly port?: number
  /** Certificate chain and private key, PEM. Default: no TLS, for loopback or behind a proxy that ends it. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer }
  /** The server's identity. Default: a new one, for as long as the server object lives. */
  readonly key?: SigningKey
  /** Limits that differ from their defaults; see `serverLimits`. */
  readonly limits?: Partial<ServerLimits>
  /**
   * Names, with or without port, under which clients reach the server. Requests for other hosts are refused, and sessions
   * are bound to them. Default on loopback: localhost, 127.0.0.1 and [::1] with the server's port. Required otherwise.
   */
  readonly allowedHosts?: readonly string[]
  /** Origins of web pages that may call, or "*". Default on loopback: pages from loopback; otherwise: the server's own. */
  readonly allowedOrigins?: readonly string[]
  /** ICE servers told to clients. Default: none. */
  readonly iceServers?: readonly IceServerOptions[]
  /** A TURN server for which every session gets its own credentials. */
  readonly turn?: TurnOptions
  /**
   * Proxies in front of the server that append to X-Forwarded-For. The address that many entries from the right is the one
   * quotas count. Default 0: the header is ignored, as anybody can write it.
   */
  readonly trustedProxies?: number
  /** Serve /metrics and /federation. Default: only when bound to loopback. */
  readonly metrics?: boolean
  /** The servers to share the directory and to pass messages with. Default: none; the server stands alone. */
  readonly federation?: FederationOptions
  /** Server named to clients when this one drains, for example "https://other.example". */
  readonly successor?: string
  /** Its Ed25519 public key, 32 bytes: clients that were not configured with the successor move there only if it has this key. */
  readonly successorKey?: Uint8Array
  /** How long `close` lets streams finish, in ms. Default 5,000. */
  readonly drainMs?: number
  /** Gets one entry per event an operator needs. Default: nothing is logged; see `jsonLogger`. */
  readonly log?: Logger
  readonly clock?: Clock
  readonly random?: Random
  /** Answers requests that are no calls, for example with a page. Default: 404. */
  readonly fallback?: NodeHandler
}

/** `ServerOptions` with the defaults in place. */
export interface ResolvedOptions {
  readonly host: string
  readonly port: number
  readonly tls: ServerOptions['tls']
  readonly key: SigningKey | undefined
  readonly limits: ServerLimits
  readonly allowedHosts: readonly string[] | undefined
  readonly allowedOrigins: readonly string[] | undefined
  readonly iceServers: readonly IceServerOptions[]
  readonly turn: TurnOptions | undefined
  readonly trustedProxies: number
  readonly metrics: boolean | undefined
  readonly federation: FederationOptions | undefined
  readonly successor: string
  readonly successorKey: Uint8Array
  readonly drainMs: number
  readonly log: Logger
  readonly clock: Clock
  readonly random: Random
  readonly fallback: NodeHandler | undefined
}

const DEFAULT_HOST = '127.0.0.1'
const DEFAULT_PORT = 4_600

/** 5 s: a client that was told to move needs a handshake with another server, with room for a slow line. */
const DEFAULT_DRAIN_MS = 5_000

/** @throws MeshError CONFIGURATION for values that cannot work. */
export function resolveOptions(options: ServerOptions): ResolvedOptions {
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, drainMs = DEFAULT_DRAIN_MS, trustedProxies = 0 } = options
  checkWhole('port', port, 65_535)
  checkWhole('drainMs', drainMs, 3_600_000)
  checkWhole('trustedProxies', trustedProxies, 16)
  const limits = resolveLimits(options.limits)
  const { federation, key } = options
  return {
    host,
    port,
    tls: options.tls,
    key,
    limits,
    allowedHosts: options.allowedHosts,
    allowedOrigins: options.allowedOrigins,
    iceServers: options.iceServers ?? [],
    turn: options.turn,
    trustedProxies,
    metrics: options.metrics,
    federation: federation && checkFederation(federation, limits, key?.publicKey),
    successor: options.successor ?? '',
    successorKey: options.successorKey ?? new Uint8Array(0),
    drainMs,
    log: options.log ?? silentLogger,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    fallback: options.fallback,
  }
}

function checkWhole(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return
  throw new MeshError(ErrorReason.CONFIGURATION, `${name} must be a whole number from 0 to ${max}, got ${value}`)
}
