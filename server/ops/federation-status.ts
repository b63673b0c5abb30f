import { toHex } from '@mesh/core'
import type { Gauges } from './metrics.ts'

/** What a server holds of one origin: its own peers, or the replica of another server's. */
export interface OriginStatus {
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array
  readonly epoch: bigint
  /** Last entry of the origin's log that was applied, and the newest one it told of. */
  readonly seq: bigint
  readonly head: bigint
  readonly rows: number
  readonly digest: Uint8Array
  /** Hidden: nothing was heard for the lease, so its peers are not shown; the rows wait for its return. */
  readonly state: 'live' | 'hidden'
  /** Key of the server that passes it on; undefined where it is heard itself. */
  readonly via: Uint8Array | undefined
  readonly msSinceState: number
}

/** Another server, and which of the two streams with it are up. */
export interface NeighbourStatus {
  readonly key: Uint8Array
  /** Where it is called; undefined for one that calls. */
  readonly url: string | undefined
  readonly directory: boolean
  readonly messages: boolean
  /** How long they have been up in ms, undefined for one that is down. */
  readonly upMs: { readonly directory: number | undefined; readonly messages: number | undefined }
  /** Round trip of the last ping, in ms; undefined where this server does not call, and before the first. */
  readonly rttMs: number | undefined
  /** Why a stream is down, for people. */
  readonly lastError: string | undefined
}

/** How a server stands in its federation, right now. */
export interface FederationStatus {
  readonly realm: string
  readonly key: Uint8Array
  readonly origins: readonly OriginStatus[]
  readonly neighbours: readonly NeighbourStatus[]
}

/**
 * The text of /federation: keys and digests in hexadecimal, 64 bit numbers as strings (JSON has no room for them).
 * `stats` are the gauges of the server itself.
 */
export function renderFederation(status: FederationStatus | undefined, stats: Gauges): string {
  if (status === undefined) return `${JSON.stringify({ federated: false, stats })}\n`
  const { realm, key, origins, neighbours } = status
  return `${JSON.stringify({
    federated: true,
    realm,
    key: toHex(key),
    stats,
    origins: origins.map((origin) => ({
      key: toHex(origin.key),
      state: origin.state,
      via: origin.via && toHex(origin.via),
      msSinceState: Math.round(origin.msSinceState),
      epoch: String(origin.epoch),
      seq: String(origin.seq),
      head: String(origin.head),
      lag: Number(lagOf(origin)),
      rows: origin.rows,
      digest: toHex(origin.digest),
    })),
    neighbours: neighbours.map(({ key: server, url, directory, messages, rttMs, lastError }) => ({
      key: toHex(server),
      url,
      directory,
      messages,
      rttMs: rttMs === undefined ? undefined : Math.round(rttMs),
      lastError,
    })),
  })}\n`
}

/** Entries of the origin's log that are known to exist and not applied yet. */
export function lagOf({ seq, head }: OriginStatus): bigint {
  return head > seq ? head - seq : 0n
}
