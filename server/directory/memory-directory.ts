import { decideRecord, ErrorReason, equalBytes, MeshError, type Random, type VerifiedRecord } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { type Deadline, DeadlineHeap } from './deadline-heap.ts'
import type { Directory, Instant, MemberPage, RecordResult, TopicChange } from './directory.ts'
import { randomIndexes } from './random-indexes.ts'

export interface MemoryDirectoryOptions {
  /** Members of one topic, and tombstones of one topic. */
  readonly maxMembersPerTopic: number
  /** How far a record's dates may be off, in ms. */
  readonly clockSkewMs: number
  readonly random: Random
  /** First revision: Unix time when the process started, so that revisions rise across restarts. */
  readonly startWallMs: number
}

interface Topic {
  readonly bytes: Uint8Array
  readonly key: ByteKey
  readonly members: Map<ByteKey, Member>
  /** The same members as an array, for uniform samples in O(count). */
  readonly order: Member[]
  readonly tombstones: Map<ByteKey, Tombstone>
  revision: bigint
}

interface Member {
  readonly kind: 'member'
  readonly topic: Topic
  readonly peer: ByteKey
  record: VerifiedRecord
  /** Session id of the record, made into a key once: every envelope asks for it. */
  sessionKey: ByteKey
  /** Index in Topic.order. */
  index: number
  deadline: Deadline<Member | Tombstone>
}

interface Tombstone {
  readonly kind: 'tombstone'
  readonly topic: Topic
  readonly peer: ByteKey
  readonly seq: bigint
  readonly departedAtMs: number
  deadline: Deadline<Member | Tombstone>
}

/** Revisions per millisecond of uptime that still cannot overtake those of the next process. */
const REVISIONS_PER_MS = 1024n

/** The directory of one process, in memory. See `Directory` for what it guarantees. */
export class MemoryDirectory implements Directory {
  readonly #topics = new Map<ByteKey, Topic>()
  readonly #deadlines = new DeadlineHeap<Member | Tombstone>()
  readonly #options: MemoryDirectoryOptions
  #revision: bigint
  #memberCount = 0

  constructor(options: MemoryDirectoryOptions) {
    this.#options = options
    this.#revision = BigInt(Math.trunc(options.startWallMs)) * REVISIONS_PER_MS
  }

  get nextExpiryMs(): number | undefined {
    return this.#deadlines.nextAtMs
  }

  get totals(): { topics: number; members: number; tombstones: number } {
    const members = this.#memberCount
    return { topics: this.#topics.size, members, tombstones: this.#deadlines.size - members }
  }

  announce(next: VerifiedRecord, now: Instant): RecordResult {
    const { topic: topicBytes, peerKey, seq } = next.record
    const peer = byteKey(peerKey)
    const topic = this.#topics.get(byteKey(topicBytes))
    const held = topic?.members.get(peer)
    const tombstone = topic?.tombstones.get(peer)
    if (topic !== undefined && tombstone !== undefined && seq <= tombstone.seq) {
      return { revision: topic.revision, change: undefined, refusal: stale(tombstone.seq) }
    }
    if (topic !== undefined && held !== undefined) return this.#replace(topic, held, next, now)
    return this.#admit(topic ?? this.#createTopic(topicBytes), peer, next, now)
  }

  leave(next: VerifiedRecord, now: Instant): RecordResult {
    const { topic: topicBytes, peerKey, seq } = next.record
    const peer = byteKey(peerKey)
    const topic = this.#topics.get(byteKey(topicBytes)) ?? this.#createTopic(topicBytes)
    const held = topic.members.get(peer)
    if (held === undefined) {
      const tombstone = topic.tombstones.get(peer)
      if (tombstone === undefined || tombstone.seq < seq) this.#bury(topic, peer, seq, [next], now)
      const refusal = tombstone !== undefined && tombstone.seq > seq ? stale(tombstone.seq) : undefined
      return { revision: topic.revision, change: undefined, refusal }
    }
    const decision = decideRecord(held.record, next)
    if (decision === 'newer') {
      const change = this.#remove(held, DepartureReason.LEFT, next.signed, next, now)
      return { revision: change.revision, change, refusal: undefined }
    }
    if (decision === 'equivocation') return this.#equivocated(held, next, now)
    return { revision: topic.revision, change: undefined, refusal: stale(held.record.record.seq) }
  }

  withdraw(
    topicKey: ByteKey,
    peer: ByteKey,
    sessionId: Uint8Array,
    reason: DepartureReason,
    now: Instant,
  ): TopicChange | undefined {
    const held = this.#topics.get(topicKey)?.members.get(peer)
    if (held === undefined || !equalBytes(held.record.record.sessionId, sessionId)) return undefined
    return this.#remove(held, reason, undefined, held.record, now)
  }

  expire(now: Instant): TopicChange[] {
    const changes: TopicChange[] = []
    for (;;) {
      const due = this.#deadlines.popDue(now.monotonicMs)
      if (due === undefined) return changes
      if (due.kind === 'member') {
        changes.push(this.#remove(due, DepartureReason.EXPIRED, undefined, due.record, now))
      } else {
        due.topic.tombstones.delete(due.peer)
        this.#dropIfEmpty(due.topic)
      }
    }
  }

  get(topicKey: ByteKey, peer: ByteKey): VerifiedRecord | undefined {
    return this.#topics.get(topicKey)?.members.get(peer)?.record
  }

  sessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined {
    return this.#topics.get(topicKey)?.members.get(peer)?.sessionKey
  }

  departedAtMs(topicKey: ByteKey, peer: ByteKey): number | undefined {
    return this.#topics.get(topicKey)?.tombstones.get(peer)?.departedAtMs
  }

  memberCount(topicKey: ByteKey): number {
    return this.#topics.get(topicKey)?.order.length ?? 0
  }

  sample(topicKey: ByteKey, count: number, except: ByteKey): VerifiedRecord[] {
    const topic = this.#topics.get(topicKey)
    if (topic === undefined) return []
    const { order } = topic
    const chosen: VerifiedRecord[] = []
    for (const index of randomIndexes(this.#options.random, order.length)) {
      if (chosen.length >= count) break
      const member = order[index] as Member
      if (member.peer !== except) chosen.push(member.record)
    }
    return chosen
  }

  page(topicKey: ByteKey, offset: number, count: number): MemberPage {
    const order = this.#topics.get(topicKey)?.order ?? []
    const records = order.slice(offset, offset + count).map((member) => member.record)
    return { records, nextOffset: offset + count < order.length ? offset + count : undefined }
  }

  #admit(topic: Topic, peer: ByteKey, next: VerifiedRecord, now: Instant): RecordResult {
    const limit = this.#options.maxMembersPerTopic
    if (topic.order.length >= limit) {
      const refusal = new MeshError(ErrorReason.LIMIT_EXCEEDED, `the topic has ${limit} members and takes no more`, {
        limit: 'max_members_per_topic',
        limitValue: limit,
        value: topic.order.length,
        retryable: true,
      })
      return { revision: topic.revision, change: undefined, refusal }
    }
    this.#dig(topic, peer)
    const sessionKey = byteKey(next.record.sessionId)
    const member = { kind: 'member', topic, peer, record: next, sessionKey, index: topic.order.length } as Member
    member.deadline = this.#deadlines.add(this.#expiryOf(next, now), member)
    topic.members.set(peer, member)
    topic.order.push(member)
    this.#memberCount += 1
    return this.#changed(topic, { kind: 'joined', peer, record: next })
  }

  #replace(topic: Topic, held: Member, next: VerifiedRecord, now: Instant): RecordResult {
    const decision = decideRecord(held.record, next)
    if (decision === 'equivocation') return this.#equivocated(held, next, now)
    if (decision === 'same') return { revision: topic.revision, change: undefined, refusal: undefined }
    if (decision === 'stale') {
      return { revision: topic.revision, change: undefined, refusal: stale(held.record.record.seq) }
    }
    held.record = next
    held.sessionKey = byteKey(next.record.sessionId)
    this.#deadlines.move(held.deadline, this.#expiryOf(next, now))
    return this.#changed(topic, { kind: 'updated', peer: held.peer, record: next })
  }

  #equivocated(held: Member, next: VerifiedRecord, now: Instant): RecordResult {
    const { seq } = next.record
    // No departure reason says "contradicted itself"; for the others the record simply stopped being valid.
    const change = this.#remove(held, DepartureReason.EXPIRED, undefined, next, now)
    const message = `two different records carry seq ${seq}; neither is served, sign one with a higher seq`
    const refusal = new MeshError(ErrorReason.RECORD_EQUIVOCATION, message, { value: seq })
    return { revision: change.revision, change, refusal }
  }

  #remove(
    held: Member,
    reason: DepartureReason,
    leave: SignedRecord | undefined,
    newest: VerifiedRecord,
    now: Instant,
  ): TopicChange {
    const { topic, peer } = held
    const { peerKey, sessionId } = held.record.record
    topic.members.delete(peer)
    const last = topic.order.pop() as Member
    if (last !== held) {
      topic.order[held.index] = last
      last.index = held.index
    }
    this.#deadlines.remove(held.deadline)
    this.#memberCount -= 1
    this.#bury(topic, peer, newest.record.seq, [held.record, newest], now)
    const { change } = this.#changed(topic, { kind: 'left', peer, peerKey, sessionId, reason, record: leave })
    return change
  }

  #bury(topic: Topic, peer: ByteKey, seq: bigint, records: VerifiedRecord[], now: Instant): void {
    this.#dig(topic, peer)
    if (topic.tombstones.size >= this.#options.maxMembersPerTopic) {
      const oldest = topic.tombstones.keys().next().value as ByteKey
      this.#dig(topic, oldest)
    }
    const tombstone = { kind: 'tombstone', topic, peer, seq, departedAtMs: now.monotonicMs } as Tombstone
    const validForMs = Math.max(...records.map((record) => this.#validForMs(record, now)))
    tombstone.deadline = this.#deadlines.add(now.monotonicMs + validForMs, tombstone)
    topic.tombstones.set(peer, tombstone)
  }

  /** Takes a tombstone away. */
  #dig(topic: Topic, peer: ByteKey): void {
    const tombstone = topic.tombstones.get(peer)
    if (tombstone === undefined) return
    this.#deadlines.remove(tombstone.deadline)
    topic.tombstones.delete(peer)
  }

  /** When a membership runs out, on the monotonic clock: its ttl from now, or sooner when the record is old. */
  #expiryOf(record: VerifiedRecord, now: Instant): number {
    return now.monotonicMs + Math.min(record.record.ttlMs, this.#validForMs(record, now))
  }

  /** How long some server may still accept a copy of the record. Bounded by what the record may say, not by the wall. */
  #validForMs({ record, expiresAtMs }: VerifiedRecord, now: Instant): number {
    const longestMs = record.ttlMs + 2 * this.#options.clockSkewMs
    return Math.max(0, Math.min(expiresAtMs - now.wallMs, longestMs))
  }

  #changed<C extends DistributiveOmit<TopicChange, 'topic' | 'topicKey' | 'revision'>>(topic: Topic, what: C) {
    this.#revision += 1n
    topic.revision = this.#revision
    const change = { ...what, topic: topic.bytes, topicKey: topic.key, revision: topic.revision }
    return { revision: topic.revision, change: change as unknown as TopicChange, refusal: undefined }
  }

  #createTopic(bytes: Uint8Array): Topic {
    const key = byteKey(bytes)
    const topic: Topic = {
      bytes: bytes.slice(),
      key,
      members: new Map(),
      order: [],
      tombstones: new Map(),
      revision: this.#revision,
    }
    this.#topics.set(key, topic)
    return topic
  }

  #dropIfEmpty(topic: Topic): void {
    if (topic.members.size === 0 && topic.tombstones.size === 0) this.#topics.delete(topic.key)
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

function stale(heldSeq: bigint): MeshError {
  return new MeshError(ErrorReason.RECORD_STALE, `a record with seq ${heldSeq} is known; sign a higher seq`, {
    value: heldSeq,
  })
}
