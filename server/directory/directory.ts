import type { MeshError, VerifiedRecord } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ByteKey } from '../byte-key.ts'

/** One reading of both clocks. Durations are counted on `monotonicMs`, statements are dated on `wallMs` (Unix ms). */
export interface Instant {
  readonly monotonicMs: number
  readonly wallMs: number
}

interface ChangeBase {
  readonly topic: Uint8Array
  readonly topicKey: ByteKey
  /** The peer that joined, changed or left. */
  readonly peer: ByteKey
  readonly revision: bigint
}

/** One change to the members of one topic: what `MembersEvent` says to the other members. */
export type TopicChange =
  | (ChangeBase & { readonly kind: 'joined' | 'updated'; readonly record: VerifiedRecord })
  | (ChangeBase & {
      readonly kind: 'left'
      readonly peerKey: Uint8Array
      readonly sessionId: Uint8Array
      readonly reason: DepartureReason
      /** The signed LEAVE, when there is one. */
      readonly record: SignedRecord | undefined
    })

/** What became of a record: the effects to publish, and why it was not accepted, when it was not. */
export interface RecordResult {
  /** Revision of the topic after the record was handled. */
  readonly revision: bigint
  /** What the other members must hear. Can be set together with `refusal`: an equivocation withdraws a member. */
  readonly change: TopicChange | undefined
  /** RECORD_STALE (value: the seq held), RECORD_EQUIVOCATION or LIMIT_EXCEEDED (max_members_per_topic). */
  readonly refusal: MeshError | undefined
}

/** A slice of a topic's members, and where the next slice starts. */
export interface MemberPage {
  readonly records: readonly VerifiedRecord[]
  readonly nextOffset: number | undefined
}

/**
 * Which peers are members of which topic, from records that were verified before they came here.
 *
 * Guarantees:
 *  1. It is a state machine: every method takes the time it happens at, starts no timer and does no input or output.
 *     The same calls give the same answers.
 *  2. Per (topic, peer) only a higher seq changes anything. The same bytes again are accepted and change nothing.
 *     The same seq with other bytes is equivocation: the member is withdrawn and neither record is served.
 *  3. A departure leaves a tombstone that refuses the departed seq and everything below it, until no record with such
 *     a seq can still be valid. Tombstones per topic are bounded like members; the oldest gives way.
 *  4. A member stays until its record's ttl has passed *on the monotonic clock* since it was accepted, whatever the wall
 *     clock does, or until it is withdrawn. It is never visible after `expire` ran at or past that time.
 *  5. Revisions rise with every change, over all topics and also across restarts of the process.
 *  6. `joined` and `left` alternate per (topic, peer); `updated` comes only between them.
 */
export interface Directory {
  /** Handles a verified JOIN record. */
  announce(record: VerifiedRecord, now: Instant): RecordResult
  /** Handles a verified LEAVE record; repeating it is accepted and changes nothing. */
  leave(record: VerifiedRecord, now: Instant): RecordResult
  /** Ends a membership that is still held by `sessionId`; undefined when it is not. */
  withdraw(
    topicKey: ByteKey,
    peer: ByteKey,
    sessionId: Uint8Array,
    reason: DepartureReason,
    now: Instant,
  ): TopicChange | undefined
  /** Withdraws every member whose record ran out (EXPIRED) and forgets tombstones that are no longer needed. */
  expire(now: Instant): TopicChange[]
  /** Monotonic time at which `expire` has something to do. */
  readonly nextExpiryMs: number | undefined

  get(topicKey: ByteKey, peer: ByteKey): VerifiedRecord | undefined
  /** The session that the member's record names, as a map key; undefined when the peer is not a member. */
  sessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined
  /** Monotonic time at which the peer stopped being a member; undefined when it is one, or too long ago to know. */
  departedAtMs(topicKey: ByteKey, peer: ByteKey): number | undefined
  memberCount(topicKey: ByteKey): number
  /** Up to `count` other members, a uniform random choice when there are more. O(count). */
  sample(topicKey: ByteKey, count: number, except: ByteKey): VerifiedRecord[]
  /** Members from `offset` on. Pages are not a snapshot: members that come and go meanwhile may shift others. */
  page(topicKey: ByteKey, offset: number, count: number): MemberPage
  /** Totals for metrics. */
  readonly totals: { readonly topics: number; readonly members: number; readonly tombstones: number }
}
