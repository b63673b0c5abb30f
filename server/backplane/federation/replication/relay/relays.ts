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

/** Missed states after which others are asked for an origin: late enough not to be a hiccup, early enough for its lease. */
const MISSED_STATES = 2
/** Of a lease: time in which each of the others was asked once. What is left is for the answer, and the next state. */
const ROUND_SHARE = 1 / 4
/** Of a lease: how often a server is asked to go on. Two of three times may be lost. */
const REPEAT_SHARE = 1 / 3

/**
 * Replication through a third server, for two that cannot reach each other.
 *
 *  - An origin of which nothing came for two state intervals is asked for by Pull, whether its stream is known to be broken
 *    or only silent: another server after the other, until one passes news on. That one is asked again every third of a
 *    lease. The first word of the origin itself ends it.
 *  - Only what a server hears from the origin itself is passed on, so that nothing goes in circles.
 *  - What is passed on counts when the origin's signature vouches for it (`RelayedRows`).
 */
export class Relays {
  readonly #options: RelaysOptions
  /** By origin. */
  readonly #relays = new Map<ByteKey, Relay>()
  /** By origin: what is passed on to others, and its newest signed state. */
  readonly #feeds = new Map<ByteKey, ReplicaFeed>()
  readonly #signedStates = new Map<ByteKey, OriginState>()
  #dueMs = Number.POSITIVE_INFINITY

  constructor(options: RelaysOptions) {
    this.#options = options
  }

  /** When `tick` has something to do, as of the last one. */
  get dueMs(): number {
    return this.#dueMs
  }

  /** The server through which the origin is heard; undefined when that is itself, or not heard at all. */
  viaOf(origin: ByteKey): Uint8Array | undefined {
    const relay = this.#relays.get(origin)
    const via = relay?.route.isSilent(this.#options.nowMs()) === false ? relay.route.via : undefined
    return via === undefined ? undefined : bytesOfKey(via)
  }

  /** Rows or a state came from the origin itself, or a stream with it was opened. */
  heard(origin: ByteKey): void {
    const relay = this.#relays.get(origin)
    if (relay === undefined) return
    if (relay.route.via !== undefined) relay.rows.clear()
    relay.route.heard(this.#options.nowMs())
  }

  /** The stream with the origin ended: nothing that comes from now on is from itself. */
  down(origin: ByteKey): void {
    this.#stopPassing(origin)
  }

  /** This process was paused: silence begins anew. */
  excuse(): void {
    for (const { route } of this.#relays.values()) route.excuse(this.#options.nowMs())
  }

  /** Asks for what is silent, and stops passing on what nobody asked for again. */
  tick(): void {
    const { replicas, outboxes, nowMs } = this.#options
    for (const outbox of outboxes.values()) outbox.expire(nowMs())
    for (const origin of this.#feeds.keys()) {
      if (![...outboxes.values()].some((outbox) => outbox.passes(origin))) this.#closeFeed(origin)
    }
    for (const [origin, { rows }] of this.#relays) {
      if (replicas.has(origin)) continue
      rows.clear()
      this.#relays.delete(origin)
    }
    this.#dueMs = Number.POSITIVE_INFINITY
    for (const [origin, replica] of replicas) this.#askIfDue(origin, replica)
  }

  /** @throws MeshError ORIGIN_FORGED when the server was not asked, and what it did wrong. */
  receiveState(server: ByteKey, state: OriginState): void {
    const origin = byteKey(state.origin)
    const relay = this.#relayFor(server, origin)
    if (relay === undefined) return
    const what = relay.rows.receiveState(state)
    if (what === 'known') return
    this.#heardThrough(server, origin, relay)
    if (what === 'gap') this.#askAgain(server, origin, relay)
  }

  /** @throws MeshError ORIGIN_FORGED when the server was not asked, and what it did wrong. */
  receiveRows(server: ByteKey, rows: Rows): void {
    const origin = byteKey(rows.origin)
    const relay = this.#relayFor(server, origin)
    if (relay === undefined) return
    const what = relay.rows.receiveRows(rows)
    if (what === 'news') this.#heardThrough(server, origin, relay)
    else if (what === 'gap') this.#askAgain(server, origin, relay)
  }

  /** Another server asks for an origin; it is passed on if this server hears that itself. */
  receivePull(server: ByteKey, { origin: key, epoch, seq }: OriginPosition): void {
    const { replicas, outboxes, store, limits, nowMs, wake } = this.#options
    const origin = byteKey(key)
    const replica = replicas.get(origin)
    const outbox = outboxes.get(server)
    const route = this.#relays.get(origin)?.route
    const isHeard = outboxes.has(origin) && route?.via === undefined && route?.isSilent(nowMs()) !== true
    if (origin === server || !isHeard || outbox === undefined || replica?.base === undefined) return
    const feed = this.#feeds.get(origin) ?? new ReplicaFeed(replica, store, limits.federationLogRows)
    this.#feeds.set(origin, feed)
    outbox.passOn(feed, epoch, seq, nowMs() + limits.federationLeaseMs)
    const state = this.#signedStates.get(origin)
    if (state !== undefined) outbox.passState(origin, state)
    wake(server)
  }

  /** An origin sent its signed state itself. @throws MeshError SIGNATURE_INVALID: whoever passed it on would be blamed for it. */
  receiveSigned(origin: ByteKey, { signed }: OriginState): void {
    if (signed === undefined) return
    const state = create(OriginStateSchema, { origin: bytesOfKey(origin), signed })
    verifyStatementSync(state.origin, 'origin-state', signed.statement, signed.signature, this.#options.verify)
    this.#signedStates.set(origin, state)
    for (const [server, outbox] of this.#options.outboxes) {
      if (!outbox.passes(origin)) continue
      outbox.passState(origin, state)
      this.#options.wake(server)
    }
  }

  #askIfDue(origin: ByteKey, replica: Replica): void {
    const { outboxes, nowMs } = this.#options
    const relay = this.#relays.get(origin) ?? this.#create(origin, replica)
    // While there is a stream and nothing to lose, what it is slow to bring is better waited for than sent twice.
    if (outboxes.has(origin) && replica.isEmpty) return
    const others = [...outboxes.keys()].filter((server) => server !== origin)
    const server = relay.route.ask(others, nowMs())
    if (server !== undefined) {
      if (server !== relay.route.via) relay.rows.clear()
      this.#pull(origin, server, relay)
    }
    this.#dueMs = Math.min(this.#dueMs, relay.route.dueMs(others.length, nowMs()))
  }

  #create(origin: ByteKey, replica: Replica): Relay {
    const { store, rows, limits, verify, nowMs } = this.#options
    const { federationStateMs, federationLeaseMs } = limits
    const route = new RelayRoute(nowMs(), {
      silenceMs: MISSED_STATES * federationStateMs,
      roundMs: federationLeaseMs * ROUND_SHARE,
      patienceMs: federationStateMs,
      repeatMs: federationLeaseMs * REPEAT_SHARE,
    })
    const relay = { route, rows: new RelayedRows({ replica, store, rows, limits, verify }) }
    this.#relays.set(origin, relay)
    return relay
  }

  #askAgain(server: ByteKey, origin: ByteKey, relay: Relay): void {
    if (relay.route.askAgain(this.#options.nowMs())) this.#pull(origin, server, relay)
  }

  #pull(origin: ByteKey, server: ByteKey, { rows }: Relay): void {
    const { epoch, seq } = rows.position
    this.#options.outboxes.get(server)?.pull(origin, epoch, seq)
    this.#options.wake(server)
  }

  /** The relay that a frame belongs to; undefined when the origin is heard, or another server passes it on already. */
  #relayFor(server: ByteKey, origin: ByteKey): Relay | undefined {
    const { outboxes, nowMs } = this.#options
    if (outboxes.get(server)?.hasAsked(origin) !== true) {
      throw new MeshError(ErrorReason.ORIGIN_FORGED, 'a server sends what is of another one only when it is asked')
    }
    const relay = this.#relays.get(origin)
    if (relay === undefined || relay.route.via === server) return relay
    if (!relay.route.isSilent(nowMs())) return undefined
    // What one server began another does not go on with.
    relay.rows.clear()
    return relay
  }

  #heardThrough(server: ByteKey, origin: ByteKey, { route }: Relay): void {
    route.heard(this.#options.nowMs(), server)
    this.#stopPassing(origin)
  }

  #stopPassing(origin: ByteKey): void {
    for (const outbox of this.#options.outboxes.values()) outbox.stopPassing(origin)
    this.#closeFeed(origin)
  }

  #closeFeed(origin: ByteKey): void {
    this.#feeds.get(origin)?.close()
    this.#feeds.delete(origin)
    this.#signedStates.delete(origin)
  }
}
