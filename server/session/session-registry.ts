import type { Clock, Random } from '@mesh/core'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import type { IdWindow } from './id-window.ts'
import { SentIds } from './sent-ids.ts'
import { Session, type SessionEnd, sessionReplaced } from './session.ts'
import type { StreamEnding } from './session-stream.ts'

export interface SessionRegistryOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly random: Random
  /** Called after a session ended, whatever the reason. */
  readonly onEnd: (session: Session, end: SessionEnd) => void
  /** Called when the last stream of a live session stopped. */
  readonly onStreamless: (session: Session) => void
  /** Called when the server ended a stream. */
  readonly onStreamEnded: (ending: StreamEnding) => void
}

/** Ended sessions whose reason is remembered, so that their tokens get a true answer. The oldest gives way. */
const MAX_REMEMBERED_ENDS = 16_384

/** Bytes of a session id (SessionGrant.session_id). */
const SESSION_ID_BYTES = 16

/** The live sessions of a server: at most one per peer. */
export class SessionRegistry {
  readonly #options: SessionRegistryOptions
  readonly #byId = new Map<ByteKey, Session>()
  readonly #byPeer = new Map<ByteKey, Session>()
  readonly #ends = new Map<ByteKey, SessionEnd>()
  readonly #sentIds: SentIds
  #streamCount = 0
  #noStreamsLeft: (() => void) | undefined

  constructor(options: SessionRegistryOptions) {
    this.#options = options
    this.#sentIds = new SentIds(options.limits.duplicateWindow)
  }

  get size(): number {
    return this.#byId.size
  }

  /** Open streams of all sessions. */
  get streamCount(): number {
    return this.#streamCount
  }

  /** Resolves when no stream is open. One caller at a time. */
  async whenNoStreams(): Promise<void> {
    if (this.#streamCount === 0) return
    await new Promise<void>((resolve) => {
      this.#noStreamsLeft = resolve
    })
  }

  get(id: ByteKey): Session | undefined {
    return this.#byId.get(id)
  }

  /** The live session of a peer. */
  ofPeer(peer: ByteKey): Session | undefined {
    return this.#byPeer.get(peer)
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byId.values()
  }

  /** How a session ended, if it did and it is not too long ago. */
  endOf(id: ByteKey): SessionEnd | undefined {
    return this.#ends.get(id)
  }

  /** The ids of a peer's envelopes, whether it has a session here or not. */
  sentIdsOf(peer: ByteKey): IdWindow {
    return this.#byPeer.get(peer)?.sentIds ?? this.#sentIds.of(peer)
  }

  /**
   * Opens a session. A live session of the same peer ends as replaced when its order is not higher; an equal order is the
   * same process asking again after it lost the answer.
   * @throws MeshError SESSION_REPLACED (value: the higher order), LIMIT_EXCEEDED (max_sessions).
   */
  open(peerKey: Uint8Array, order: bigint): Session {
    const { limits, clock, random } = this.#options
    const previous = this.#byPeer.get(byteKey(peerKey))
    if (previous !== undefined && previous.order > order) throw sessionReplaced(previous.order)
    if (previous === undefined && this.#byId.size >= limits.maxSessions) {
      throw limitError('maxSessions', limits.maxSessions, { value: this.#byId.size, retryable: true })
    }
    if (previous !== undefined) this.end(previous, { kind: 'replaced', order })
    const session: Session = new Session({
      id: random.bytes(SESSION_ID_BYTES),
      peerKey,
      order,
      limits,
      clock,
      sentIds: this.#sentIds.take(byteKey(peerKey)),
      onLeaseExpired: (expired) => this.end(expired, { kind: 'expired' }),
      onStream: (what, ending) => this.#onStream(session, what, ending),
    })
    this.#byId.set(session.key, session)
    this.#byPeer.set(session.peer, session)
    return session
  }

  /** Ends a session and its streams. Idempotent. */
  end(session: Session, end: SessionEnd): void {
    if (session.end !== undefined) return
    session.finish(end)
    this.#byId.delete(session.key)
    if (this.#byPeer.get(session.peer) === session) {
      this.#byPeer.delete(session.peer)
      this.#sentIds.keep(session.peer, session.sentIds)
    }
    if (this.#ends.size >= MAX_REMEMBERED_ENDS) this.#ends.delete(this.#ends.keys().next().value as ByteKey)
    this.#ends.set(session.key, end)
    this.#options.onEnd(session, end)
  }

  #onStream(session: Session, what: 'started' | 'stopped', ending: StreamEnding | undefined): void {
    this.#streamCount += what === 'started' ? 1 : -1
    if (ending !== undefined) this.#options.onStreamEnded(ending)
    if (this.#streamCount === 0) this.#noStreamsLeft?.()
    if (session.streamCount === 0 && session.end === undefined) this.#options.onStreamless(session)
  }
}
