import type { VerifiedRecord } from '@mesh/core'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ByteKey } from '../byte-key.ts'
import type { Directory, RecordResult, TopicChange } from '../directory/directory.ts'

/** An envelope on its way to another server: stamped, and checked for size, quota and membership. */
export interface RoutedEnvelope {
  readonly topicKey: ByteKey
  readonly to: ByteKey
  /** Session of the recipient it is meant for; empty for any. */
  readonly toSession: ByteKey
  readonly ttlMs: number
  /** A serialised `Event` with the stamped envelope, without a cursor. */
  readonly body: Uint8Array
}

/** What became of an envelope elsewhere. */
export type RemoteDelivery = 'delivered' | 'held' | 'absent'

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
 *  3. `send` is for envelopes whose recipient has no session here. It never delivers twice.
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
  readonly members: MembersView
  /** Hands an envelope to another server that has the recipient; undefined when no server is known to. */
  send(envelope: RoutedEnvelope): Promise<RemoteDelivery> | undefined
  /** Stops timers and leaves the other servers. Idempotent. */
  close(): Promise<void>
}
