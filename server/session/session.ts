import { type Clock, ErrorReason, MeshError, type Timer, TokenBucket } from '@mesh/core'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ByteKey } from '../byte-key.ts'
import { byteKey } from '../byte-key.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { BodySlab } from './body-slab.ts'
import { encodeMessageBody, messageBodyBytes, messageEnvelope, senderStamp } from './event-codec.ts'
import type { IdWindow } from './id-window.ts'
import { LimitWatch } from './limit-watch.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import { SessionStream, type StreamEnding, type StreamSink } from './session-stream.ts'

/** Why a session ended. */
export type SessionEnd =
  /** Its owner closed it. */
  | { readonly kind: 'closed' }
  /** No stream for the length of the lease. */
  | { readonly kind: 'expired' }
  /** A newer session of the same peer took over here; `order` is that session's. */
  | { readonly kind: 'replaced'; readonly order: bigint }
  /** Nobody was connected to it while the peer opened a newer session at another server, of that order. */
  | { readonly kind: 'moved'; readonly order: bigint }
  /** The server stops. */
  | { readonly kind: 'stopped' }

export interface SessionOptions {
  readonly id: Uint8Array
  readonly peerKey: Uint8Array
  /** Client-chosen order among the peer's sessions. */
  readonly order: bigint
  readonly limits: ServerLimits
  readonly clock: Clock
  /** Envelope ids the peer has sent, by this session and those before it. */
  readonly sentIds: IdWindow
  /** The lease ran out. */
  readonly onLeaseExpired: (session: Session) => void
  /** A stream started, or stopped taking part; `ending` when the server ended it. */
  readonly onStream: (what: 'started' | 'stopped', ending?: StreamEnding) => void
}

/** A message that waits in the queue of a session. */
export interface UnreadMessage {
  /** A serialised Envelope, with its sender's stamp. */
  readonly envelope: Uint8Array
  /** Monotonic time at which it was queued. */
  readonly atMs: number
}

/**
 * One peer at this server, from OpenSession to logout, takeover or the end of its lease. Holds the peer's event queue,
 * its streams and its quotas; what it is a member of is kept by `Memberships`.
 */
export class Session {
  readonly id: Uint8Array
  readonly key: ByteKey
  readonly peerKey: Uint8Array
  /** The peer's key as a map key. */
  readonly peer: ByteKey
  readonly sentIds: IdWindow
  /** What is appended to the envelopes this session sends; see `senderStamp`. */
  readonly stamp: Uint8Array
  /** Topics the session is a member of. */
  readonly topics = new Map<ByteKey, Uint8Array>()
  readonly joins: TokenBucket
  readonly messages: TokenBucket
  readonly lookups: TokenBucket
  readonly #topicWatch: LimitWatch
  readonly #options: SessionOptions
  readonly #replay: ReplayBuffer
  readonly #slab = new BodySlab()
  /** For what it sends to other servers, which is gone in another order than what comes. */
  #sentSlab: BodySlab | undefined
  readonly #streams = new Set<SessionStream>()
  readonly #pairs = new Map<ByteKey, TokenBucket>()
  #order: bigint
  #lease: Timer | undefined
  #end: SessionEnd | undefined

  constructor(options: SessionOptions) {
    this.#options = options
    const { id, peerKey, limits, clock } = options
    this.id = id
    this.key = byteKey(id)
    this.peerKey = peerKey
    this.peer = byteKey(peerKey)
    this.sentIds = options.sentIds
    this.stamp = senderStamp(peerKey, id)
    this.#order = options.order
    this.#replay = new ReplayBuffer({
      maxUnreadBytes: limits.maxStreamQueueBytes,
      maxReadEvents: limits.replayMaxEvents,
      maxReadBytes: limits.replayMaxBytes,
      maxReadAgeMs: limits.replayMaxAgeMs,
    })
    this.joins = new TokenBucket({ perSecond: limits.joinsPerSecond, burst: limits.joinsBurst, clock })
    this.messages = new TokenBucket({ perSecond: limits.messagesPerSecond, burst: limits.messagesBurst, clock })
    this.lookups = new TokenBucket({ perSecond: limits.lookupsPerSecond, burst: limits.lookupsBurst, clock })
    this.#topicWatch = new LimitWatch('maxTopicsPerSession', limits, (body) => {
      return this.notify(NoticeKind.LIMIT_WARNING, body)
    })
    this.#startLease()
  }

  get order(): bigint {
    return this.#order
  }

  /** How the session ended; undefined while it lives. */
  get end(): SessionEnd | undefined {
    return this.#end
  }

  get streamCount(): number {
    return this.#streams.size
  }

  /** Bytes of events held, for tests and metrics. */
  get queuedBytes(): number {
    return this.#replay.bytes
  }

  /** The owner proved itself again: the lease starts over, and the order may have risen. */
  renew(order: bigint): void {
    if (order > this.#order) this.#order = order
    if (this.#streams.size === 0) this.#startLease()
  }

  /**
   * Starts a stream after `cursor`; 0 starts with the oldest event still held.
   * @throws MeshError CURSOR_INVALID when the session never had that cursor, LIMIT_EXCEEDED (max_streams_per_session).
   */
  attach(cursor: bigint, tokenExpiresAtMs: number, sink: StreamSink): SessionStream {
    const { limits, clock } = this.#options
    if (cursor > BigInt(this.#replay.head)) {
      const message = `cursor ${cursor} is past the newest event, ${this.#replay.head}`
      throw new MeshError(ErrorReason.CURSOR_INVALID, message, { value: cursor })
    }
    if (this.#streams.size >= limits.maxStreamsPerSession) {
      throw limitError('maxStreamsPerSession', limits.maxStreamsPerSession, {
        value: this.#streams.size,
        retryable: true,
      })
    }
    const position = cursor === 0n ? this.#oldestPosition() : Number(cursor)
    this.#replay.acknowledge(Number(cursor), clock.monotonicMs())
    const onDetach = (stream: SessionStream): void => this.#detach(stream)
    const stream = new SessionStream({
      replay: this.#replay,
      clock,
      limits,
      sink,
      cursor: position,
      tokenExpiresAtMs,
      onDetach,
    })
    this.#streams.add(stream)
    this.#options.onStream('started')
    this.#lease?.cancel()
    this.#lease = undefined
    return stream
  }

  /** Queues an event that must not be refused (membership changes); what it displaces is reported as a gap. */
  push(body: Uint8Array): void {
    if (this.#end !== undefined) return
    this.#replay.append(body, this.#options.clock.monotonicMs())
    for (const stream of this.#streams) stream.onEvent()
  }

  /** Whether a message of this size has room in the queue. */
  hasRoomFor(bodyBytes: number): boolean {
    return this.#replay.fits(bodyBytes)
  }

  /** Queues a message for this session: an Envelope, and fields to append. False, and nothing happens, when it has no room. */
  deliver(envelope: Uint8Array, stamp: Uint8Array): boolean {
    const bytes = messageBodyBytes(envelope, stamp)
    if (!this.#replay.fits(bytes)) return false
    this.push(encodeMessageBody(envelope, stamp, this.#slab.allocate(bytes, this.#options.clock.monotonicMs())))
    return true
  }

  /** An envelope of this session as other servers get it: with its sender's stamp. */
  stamped(envelope: Uint8Array): Uint8Array {
    const { stamp } = this
    this.#sentSlab ??= new BodySlab()
    const nowMs = this.#options.clock.monotonicMs()
    const bytes = this.#sentSlab.allocate(envelope.byteLength + stamp.byteLength, nowMs)
    bytes.set(envelope)
    bytes.set(stamp, envelope.byteLength)
    return bytes
  }

  /** Messages that no stream has taken, oldest first: nobody has seen them. */
  *unreadMessages(): IterableIterator<UnreadMessage> {
    for (const { body, atMs } of this.#replay.unread()) {
      const envelope = messageEnvelope(body)
      if (envelope !== undefined) yield { envelope, atMs }
    }
  }

  /** The quota for envelopes to one recipient. */
  pairQuota(recipient: ByteKey): TokenBucket {
    const known = this.#pairs.get(recipient)
    if (known !== undefined) return known
    // Forgetting the oldest gives it a full bucket again; getting there takes longer than refilling one would have.
    if (this.#pairs.size >= MAX_PAIRS) this.#pairs.delete(this.#pairs.keys().next().value as ByteKey)
    const { pairMessagesPerSecond: perSecond, pairMessagesBurst: burst } = this.#options.limits
    const bucket = new TokenBucket({ perSecond, burst, clock: this.#options.clock })
    this.#pairs.set(recipient, bucket)
    return bucket
  }

  /** The session is a member of the topic from now on. */
  addTopic(topicKey: ByteKey, topic: Uint8Array): void {
    this.topics.set(topicKey, topic)
    this.#topicWatch.look(this.topics.size)
  }

  /** Tells every stream something without ending it. False when there is none. */
  notify(kind: NoticeKind, body: Uint8Array): boolean {
    for (const stream of this.#streams) stream.notify(kind, body)
    return this.#streams.size > 0
  }

  /** Ends the session and its streams, each with the reason. Idempotent. */
  finish(end: SessionEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#lease?.cancel()
    const ending = streamEnding(end)
    for (const stream of [...this.#streams]) {
      if (ending === undefined) stream.close()
      else stream.end(ending)
    }
  }

  /** Ends the streams but keeps the session: the server drains, and the client may resume elsewhere or later. */
  endStreams(ending: StreamEnding): void {
    for (const stream of [...this.#streams]) stream.end(ending)
  }

  /** Where cursor 0 starts: before the oldest event held, and before anything unread that was lost. */
  #oldestPosition(): number {
    const lost = this.#replay.lostAfter(0)
    return lost === undefined ? 0 : Math.min(lost.toCursor, this.#replay.readCursor)
  }

  #detach(stream: SessionStream): void {
    this.#streams.delete(stream)
    if (this.#streams.size === 0 && this.#end === undefined) this.#startLease()
    this.#options.onStream('stopped', stream.ending)
  }

  #startLease(): void {
    const { clock, limits, onLeaseExpired } = this.#options
    this.#lease?.cancel()
    this.#lease = clock.schedule(limits.leaseMs, () => onLeaseExpired(this))
  }
}

/** Recipients whose pair quota one session remembers: at 50 messages a second, 20 s of different ones. */
const MAX_PAIRS = 1_024

/** Whether one process of a peer opened both sessions: the upper 44 bits of an order name it (SessionProof.session_order). */
export function ofOneProcess(order: bigint, other: bigint): boolean {
  return order >> 20n === other >> 20n
}

/** The error a call of an ended session gets, and a stream ends with. */
export function sessionEndError(end: SessionEnd): MeshError {
  switch (end.kind) {
    case 'closed':
      return new MeshError(ErrorReason.SESSION_CLOSED, 'the session was closed by its owner')
    case 'replaced':
    case 'moved':
      return sessionReplaced(end.order)
    case 'expired':
    case 'stopped':
      return new MeshError(ErrorReason.SESSION_UNKNOWN, 'the session ended; open a new one')
  }
}

/** `order` is the order of the session that holds the peer now. */
export function sessionReplaced(order: bigint): MeshError {
  return new MeshError(ErrorReason.SESSION_REPLACED, 'a newer session of the same peer took over', { value: order })
}

function streamEnding(end: SessionEnd): StreamEnding | undefined {
  switch (end.kind) {
    case 'closed':
      return { notice: NoticeKind.SESSION_CLOSED, error: sessionEndError(end) }
    case 'replaced':
    case 'moved':
      return { notice: NoticeKind.SESSION_REPLACED, error: sessionEndError(end) }
    case 'expired':
    case 'stopped':
      return undefined
  }
}
