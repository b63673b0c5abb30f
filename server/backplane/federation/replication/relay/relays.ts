import { create } from '@bufbuild/protobuf'
import { type Ed25519VerifySync, ErrorReason, MeshError, verifyStatementSync } from '@mesh/core'
import {
  type OriginPosition,
  type OriginState,
  OriginStateSchema,
  type Rows,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { ServerLimits } from '../../../../limits/server-limits.ts'
import type { Outbox } from '../outbox.ts'
import type { Replica } from '../replica/replica.ts'
import type { RowIntake } from '../replica/row-intake.ts'
import type { RowStore } from '../table/row-store.ts'
import { RelayRoute } from './relay-route.ts'
import { RelayedRows } from './relayed-rows.ts'
import { ReplicaFeed } from './replica-feed.ts'

export interface RelaysOptions {
  readonly replicas: ReadonlyMap<ByteKey, Replica>
  /** By server that a stream is open with. */
  readonly outboxes: ReadonlyMap<ByteKey, Outbox>
  readonly store: RowStore
  readonly rows: RowIntake
  readonly limits: ServerLimits
  readonly verify: Ed25519VerifySync
  readonly nowMs: () => number
  readonly wake: (server: ByteKey) => void
}

interface Relay {
  readonly route: RelayRoute
  readonly rows: RelayedRows
}

/**
 * Replication through a third server, for two that cannot reach each other.
 *
 *  - An origin without a stream for two state intervals is asked for by Pull: another server after the other, until one
 *    passes something on. That one is asked again every third of a lease.
 *  - Only what a server has from the origin itself is passed on, so that nothing goes in circles.
 *  - What is passed on counts when the origin's signature vouches for it (`RelayedRows`).
 */
export class Relays {
  readonly #options: RelaysOptions
  /** By origin that has no stream with this server. */
  readonly #relays = new Map<ByteKey, Relay>()
  /** By origin: what is passed on to others, and its newest signed state. */
  readonly #feeds = new Map<ByteKey, ReplicaFeed>()
  readonly #signedStates = new Map<ByteKey, OriginState>()

  constructor(options: RelaysOptions) {
    this.#options = options
  }

  /** The origin has a stream with this server. */
  up(origin: ByteKey): void {
    this.#relays.get(origin)?.rows.clear()
    this.#relays.delete(origin)
  }

  /** It has none any more: nothing that comes from now on is from itself. */
  down(origin: ByteKey): void {
    for (const outbox of this.#options.outboxes.values()) outbox.stopPassing(origin)
    this.#closeFeed(origin)
  }

  /** Asks for what has no stream, and stops passing on what nobody asked for again. */
  tick(): void {
    const { replicas, outboxes, nowMs, limits } = this.#options
    for (const outbox of outboxes.values()) outbox.expire(nowMs())
    for (const origin of this.#feeds.keys()) {
      if (![...outboxes.values()].some((outbox) => outbox.passes(origin))) this.#closeFeed(origin)
    }
    for (const [origin, { rows }] of this.#relays) {
      if (replicas.has(origin)) continue
      rows.clear()
      this.#relays.delete(origin)
    }
    for (const [origin, replica] of replicas) {
      if (outboxes.has(origin)) continue
      const relay = this.#relays.get(origin) ?? this.#create(origin, replica)
      const isDue = nowMs() >= relay.route.silentSinceMs + 2 * limits.federationStateMs
      if (isDue && outboxes.size > 0) this.#ask(origin, relay)
    }
  }

  /** @throws MeshError ORIGIN_FORGED when the server was not asked, and what it did wrong. */
  receiveState(server: ByteKey, state: OriginState): void {
    const relay = this.#relayFor(server, byteKey(state.origin))
    relay?.rows.receiveState(state)
  }

  /** @throws MeshError ORIGIN_FORGED when the server was not asked, and what it did wrong. */
  receiveRows(server: ByteKey, rows: Rows): void {
    const origin = byteKey(rows.origin)
    const relay = this.#relayFor(server, origin)
    if (relay === undefined || relay.rows.receiveRows(rows)) return
    if (relay.route.askAgain(this.#options.nowMs())) this.#pull(origin, server, relay)
  }

  /** Another server asks for an origin; it is passed on if that has a stream with this server. */
  receivePull(server: ByteKey, { origin: key, epoch, seq }: OriginPosition): void {
    const { replicas, outboxes, store, limits, nowMs, wake } = this.#options
    const origin = byteKey(key)
    const replica = replicas.get(origin)
    const outbox = outboxes.get(server)
    if (origin === server || !outboxes.has(origin) || outbox === undefined || replica?.base === undefined) return
    const feed = this.#feeds.get(origin) ?? new ReplicaFeed(replica, store, limits.federationLogRows)
    this.#feeds.set(origin, feed)
    outbox.passOn(feed, epoch, seq, nowMs() + limits.federationLeaseMs)
    const state = this.#signedStates.get(origin)
    if (state !== undefined) outbox.passState(origin, state)
    wake(server)
  }

  /** An origin sent its signed state itself. @throws MeshError SIGNATURE_INVALID when it is to be passed on and not signed. */
  receiveSigned(origin: ByteKey, { signed }: OriginState): void {
    if (signed === undefined) return
    const state = create(OriginStateSchema, { origin: bytesOfKey(origin), signed })
    if (this.#feeds.has(origin)) {
      verifyStatementSync(state.origin, 'origin-state', signed.statement, signed.signature, this.#options.verify)
    }
    this.#signedStates.set(origin, state)
    for (const [server, outbox] of this.#options.outboxes) {
      if (!outbox.passes(origin)) continue
      outbox.passState(origin, state)
      this.#options.wake(server)
    }
  }

  #create(origin: ByteKey, replica: Replica): Relay {
    const { store, rows, limits, verify, nowMs } = this.#options
    const { federationStateMs, federationLeaseMs } = limits
    const relay = {
      route: new RelayRoute(nowMs(), { patienceMs: federationStateMs, repeatMs: federationLeaseMs / 3 }),
      rows: new RelayedRows({ replica, store, rows, limits, verify }),
    }
    this.#relays.set(origin, relay)
    return relay
  }

  #ask(origin: ByteKey, relay: Relay): void {
    const server = relay.route.ask([...this.#options.outboxes.keys()], this.#options.nowMs())
    if (server !== undefined) this.#pull(origin, server, relay)
  }

  #pull(origin: ByteKey, server: ByteKey, { rows }: Relay): void {
    const { epoch, seq } = rows.position
    this.#options.outboxes.get(server)?.pull(origin, epoch, seq)
    this.#options.wake(server)
  }

  /** The relay that a frame belongs to; undefined when it comes late. */
  #relayFor(server: ByteKey, origin: ByteKey): Relay | undefined {
    const { outboxes, nowMs } = this.#options
    if (outboxes.get(server)?.hasAsked(origin) !== true) {
      throw new MeshError(ErrorReason.ORIGIN_FORGED, 'a server sends what is of another one only when it is asked')
    }
    const relay = this.#relays.get(origin)
    if (relay?.route.via !== server) return undefined
    relay.route.answered(nowMs())
    return relay
  }

  #closeFeed(origin: ByteKey): void {
    this.#feeds.get(origin)?.close()
    this.#feeds.delete(origin)
    this.#signedStates.delete(origin)
  }
}
