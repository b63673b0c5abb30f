import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ServerLimits } from '../limits/server-limits.ts'
import { limitError } from '../limits/server-limits.ts'
import { encodeEventBody } from './event-codec.ts'
import { LimitWatch } from './limit-watch.ts'
import type { ReplayBuffer, StoredEvent } from './replay-buffer.ts'

/** The transport's side of a stream. */
export interface StreamSink {
  /** There is something to take, or the stream ends. May be called often; must not take synchronously. */
  wake(): void
  /** Bytes that were taken and not yet handed to the operating system. */
  readonly backlogBytes: number
}

/** Why the server ends a stream: the last event the client gets, and the status of the call. */
export interface StreamEnding {
  readonly notice: NoticeKind
  readonly error: MeshError
}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ending'; readonly ending: StreamEnding }
  | { readonly kind: 'closed' }

export interface SessionStreamOptions {
  readonly replay: ReplayBuffer
  readonly clock: Clock
  readonly limits: ServerLimits
  readonly sink: StreamSink
  /** Position to continue after. */
  readonly cursor: number
  /** Monotonic time at which the token of the call runs out; no stream outlives it. */
  readonly tokenExpiresAtMs: number
  /** Called once, when the stream stops taking part in the session. */
  readonly onDetach: (stream: SessionStream) => void
}

/**
 * One Subscribe or Exchange call of a session: a position in the session's replay buffer.
 *
 *  1. `take` returns what is new, in order, and moves the position. The first batch comes at once: what is replayed, or
 *     a heartbeat.
 *  2. Heartbeats come every `heartbeatMs`, whatever else happens.
 *  3. A stream that falls `maxStreamQueueBytes` behind, or takes nothing for `deadAfterMs` although something is
 *     there, ends as a slow reader. Nothing is queued for it, so memory stays flat; it resumes from its cursor.
 *  4. `end` detaches it from the session at once; the transport delivers the notice if the client still reads.
 */
export class SessionStream {
  readonly #options: SessionStreamOptions
  readonly #timers: Timer[] = []
  #state: State = { kind: 'open' }
  #position: number
  #heartbeatDue = true
  /** Notices that do not end the stream: draining, close to a limit. At most one of each kind waits. */
  readonly #notices = new Map<NoticeKind, Uint8Array>()
  readonly #queueWatch: LimitWatch
  #takenAtMs: number

  constructor(options: SessionStreamOptions) {
    this.#options = options
    this.#position = options.cursor
    const { clock, limits, tokenExpiresAtMs } = options
    this.#takenAtMs = clock.monotonicMs()
    this.#queueWatch = new LimitWatch('maxStreamQueueBytes', limits, (body) => {
      return this.notify(NoticeKind.LIMIT_WARNING, body)
    })
    this.#every(limits.heartbeatMs, () => this.#beat())
    this.#timers.push(clock.schedule(tokenExpiresAtMs - clock.monotonicMs(), () => this.end(tokenExpired())))
  }

  /** The last cursor that was taken. */
  get position(): number {
    return this.#position
  }

  /** Why the stream ends, once it does. */
  get ending(): StreamEnding | undefined {
    return this.#state.kind === 'ending' ? this.#state.ending : undefined
  }

  get isOpen(): boolean {
    return this.#state.kind === 'open'
  }

  /** The session has a new event. Ends the stream when it is too far behind. */
  onEvent(): void {
    if (this.#state.kind !== 'open') return
    const { replay, sink, limits } = this.#options
    const queued = replay.bytesAfter(this.#position) + sink.backlogBytes
    if (queued > limits.maxStreamQueueBytes || replay.lostAfter(this.#position) !== undefined) {
      this.end(slowReader(limits.maxStreamQueueBytes, queued))
      return
    }
    this.#queueWatch.look(queued)
    this.#wake()
  }

  /** Queues a notice that does not end the stream. False when the stream is over. */
  notify(kind: NoticeKind, body: Uint8Array): boolean {
    if (this.#state.kind !== 'open') return false
    this.#notices.set(kind, body)
    this.#wake()
    return true
  }

  /** What is new, up to about `maxBytes` (at least one event). Empty when nothing is, or when the stream is over. */
  take(maxBytes: number): StoredEvent[] {
    const { replay, clock } = this.#options
    if (this.#state.kind === 'closed') return []
    const events: StoredEvent[] = []
    if (this.#state.kind === 'open') this.#takeReplay(events, maxBytes)
    for (const body of this.#notices.values()) events.push({ cursor: this.#position, body })
    this.#notices.clear()
    if (this.#state.kind === 'ending') {
      events.push({ cursor: this.#position, body: noticeBody(this.#state.ending) })
      this.#state = { kind: 'closed' }
      return events
    }
    if (this.#heartbeatDue) {
      this.#heartbeatDue = false
      events.push({ cursor: this.#position, body: this.#heartbeat() })
    }
    replay.markRead(this.#position, clock.monotonicMs())
    this.#takenAtMs = clock.monotonicMs()
    return events
  }

  /** True while `take` would return something. */
  get hasMore(): boolean {
    if (this.#state.kind === 'closed') return false
    if (this.#state.kind === 'ending' || this.#heartbeatDue || this.#notices.size > 0) return true
    return this.#position < this.#options.replay.head
  }

  /** Everything up to `cursor` was handled by the client. */
  acknowledge(cursor: number): void {
    const { replay, clock } = this.#options
    replay.acknowledge(Math.min(cursor, this.#position), clock.monotonicMs())
  }

  /** The server ends the stream: detached now, `ending` delivered by the next `take`. Idempotent. */
  end(ending: StreamEnding): void {
    if (this.#state.kind !== 'open') return
    this.#state = { kind: 'ending', ending }
    this.#detach()
    this.#options.sink.wake()
  }

  /** The client, or the connection, is gone. Idempotent. */
  close(): void {
    const wasOpen = this.#state.kind === 'open'
    this.#state = { kind: 'closed' }
    if (wasOpen) this.#detach()
  }

  #takeReplay(events: StoredEvent[], maxBytes: number): void {
    const { replay } = this.#options
    const lost = replay.lostAfter(this.#position)
    if (lost !== undefined) {
      const fromCursor = BigInt(lost.fromCursor)
      const toCursor = BigInt(lost.toCursor)
      events.push({ cursor: lost.toCursor, body: encodeEventBody({ case: 'gap', value: { fromCursor, toCursor } }) })
      this.#position = lost.toCursor
    }
    let bytes = 0
    for (let next = replay.after(this.#position); next !== undefined; next = replay.after(this.#position)) {
      if (bytes > 0 && bytes + next.body.byteLength > maxBytes) break
      events.push(next)
      bytes += next.body.byteLength
      this.#position = next.cursor
    }
  }

  #wake(): void {
    this.#options.sink.wake()
  }

  #beat(): void {
    if (this.#state.kind !== 'open') return
    const { clock, limits } = this.#options
    const waitedMs = clock.monotonicMs() - this.#takenAtMs
    if (this.#heartbeatDue && waitedMs >= limits.deadAfterMs) {
      this.end(slowReader(limits.deadAfterMs, waitedMs, 'deadAfterMs'))
      return
    }
    this.#heartbeatDue = true
    this.#wake()
  }

  #heartbeat(): Uint8Array {
    const serverTimeMs = BigInt(Math.trunc(this.#options.clock.wallMs()))
    return encodeEventBody({ case: 'heartbeat', value: { serverTimeMs } })
  }

  #every(intervalMs: number, run: () => void): void {
    const arm = (): void => {
      this.#timers[0] = this.#options.clock.schedule(intervalMs, () => {
        arm()
        run()
      })
    }
    arm()
  }

  #detach(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#options.onDetach(this)
  }
}

function noticeBody({ notice, error }: StreamEnding): Uint8Array {
  return encodeEventBody({ case: 'notice', value: { kind: notice, detail: error.toDetail() } })
}

function slowReader(limit: number, found: number, name: keyof ServerLimits = 'maxStreamQueueBytes'): StreamEnding {
  return { notice: NoticeKind.SLOW_READER, error: limitError(name, limit, { value: found, retryable: true }) }
}

function tokenExpired(): StreamEnding {
  const error = new MeshError(
    ErrorReason.TOKEN_EXPIRED,
    'the token expired; renew the session, then resume the stream',
    {
      retryable: true,
    },
  )
  return { notice: NoticeKind.TOKEN_EXPIRED, error }
}
