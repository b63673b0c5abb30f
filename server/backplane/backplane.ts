import type { MeshError, VerifiedRecord } from '@mesh/core'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ByteKey } from '../byte-key.ts'
import type { Directory, RecordResult, TopicChange } from '../directory/directory.ts'

/** What is read of an envelope to route it, and its bytes. */
export interface EnvelopeFields {
  /** Envelope.id, a view of `bytes` or of its own. */
  readonly id: Uint8Array
  readonly to: ByteKey
  readonly topicKey: ByteKey
  /** Session of the recipient it is meant for; empty for any. */
  readonly toSession: ByteKey
  /** How long it may still be held for a recipient that is away, in ms; 0 when it may not. Overrules what `bytes` say. */
  readonly ttlMs: number
  readonly payloadBytes: number
  /** A serialised Envelope; passed on as it is. May be a view of more: who keeps it for later keeps a `keptEnvelope`. */
  readonly bytes: Uint8Array
}

/** An envelope on its way between servers, as the server of its sender stamped it. */
export interface RoutedEnvelope extends EnvelopeFields {
  readonly from: ByteKey
}

/** The envelope in memory of its own: that of others is not held up by it. */
export function keptEnvelope(envelope: RoutedEnvelope): RoutedEnvelope {
  return { ...envelope, id: envelope.id.slice(), bytes: envelope.bytes.slice() }
}

/**
 * What became of an envelope at a server: its recipient has a session here and reads (`delivered`), has one and will find it
 * there (`held`), or has none (`absent`). An error is a refusal: the recipient is here, or ought to be, and does not get it.
 */
export type Arrival = 'delivered' | 'held' | 'absent' | MeshError

/** What became of an envelope elsewhere. `unanswered`: it may have arrived, nobody said so in time. */
export type RemoteDelivery = Arrival | 'unanswered'

/** The part of a server that takes envelopes from others. */
export interface EnvelopeTaker {
  receive(envelope: RoutedEnvelope): Arrival
  /** Whether something is held for a member of the topic: its changes matter although nobody here is a member. */
  awaits(topicKey: ByteKey): boolean
}

/** The end of one membership. */
export type Departure = Extract<TopicChange, { kind: 'left' }>

/** The part of the directory that everybody may read. */
export type MembersView = Pick<Directory, 'get' | 'sessionOf' | 'departedAtMs' | 'memberCount' | 'sample' | 'page'>

/**
 * The seam between one server and those it works with: the core of the server knows members and messages, the backplane
 * knows whether other servers exist.
 *
 * Guarantees:
 *  1. `announce`, `leave` and `withdraw` take effect in `members` and call the watchers before they return: a server
 *     sees its own writes at once, and others' in the order in which their home made them.
 *  2. Watchers hear of every change to the visible set exactly once, in the order of the revisions.
 *  3. `send` settles within the envelope's ttl, or a few seconds when it has none. `held` can mean that this server goes on
 *     trying for as long as the ttl allows.
 *  4. Trying again after `unanswered`, or after a crash, delivers no second time as long as the id is the same: the server
 *     of the recipient drops it.
 */
export interface Backplane {
  /** Publishes a JOIN record of this server's own peer. */
  announce(record: VerifiedRecord): RecordResult
  /** Publishes a LEAVE record of this server's own peer. */
  leave(record: VerifiedRecord): RecordResult
  /** Ends a membership of this server's own peer that `sessionId` still holds. */
  withdraw(topicKey: ByteKey, peer: ByteKey, sessionId: Uint8Array, reason: DepartureReason): void
  /** Calls `listener` on every change, whoever made it, until the returned function is called. */
  watch(listener: (change: TopicChange) => void): () => void
  /**
   * Calls `listener` when a record of this server's own peer ran out, or contradicted itself, whether or not others see the
   * peer leave: it may have another home. After the watchers. Set once.
   */
  onLapsed(listener: (departure: Departure) => void): void
  readonly members: MembersView
  /** Whether memberships of other servers are still on their way here: who is not in `members` may be a member all the same. */
  readonly isCatchingUp: boolean
  /** The session under which a peer is a member at this server, whatever `members` shows of its other homes. */
  ownSessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined
  /**
   * Hands an envelope to another server that has the recipient; false when no server is known to. Otherwise `settled` is called
   * once, perhaps before this returns.
   */
  send(envelope: RoutedEnvelope, settled: (delivery: RemoteDelivery) => void): boolean
  /** Names who takes what other servers send here. Set once, before the first can come. */
  onEnvelope(taker: EnvelopeTaker): void
  /** Calls `listener` when a peer of this server has a newer session, of that order, at another one. Set once. */
  onOutranked(listener: (peer: ByteKey, order: bigint) => void): void
  /** Stops timers and leaves the other servers. Idempotent. */
  close(): Promise<void>
}
