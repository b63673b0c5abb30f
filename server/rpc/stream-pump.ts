import type { Clock, Timer } from '@mesh/core'
import type { Call } from '../http/call.ts'
import type { StoredEvent } from '../session/replay-buffer.ts'
import type { Session } from '../session/session.ts'
import type { SessionStream, StreamEnding } from '../session/session-stream.ts'

export interface StreamPumpOptions {
  readonly call: Call
  readonly clock: Clock
  /** How long an ended stream may take to read its last notice before the transport is cut. */
  readonly streamEndMs: number
  readonly signal: AbortSignal
}

/** Bytes of events in one message: what a turn produced, in pieces that fit common buffers. */
const MAX_BATCH_BYTES = 64 * 1_024

/**
 * Reads a session stream the way Connect wants to be fed: one batch per turn of the event loop, and the next only when the
 * transport took the last.
 */
export class StreamPump {
  readonly #options: StreamPumpOptions
  readonly #stream: SessionStream
  #wakeUp: (() => void) | undefined
  #turn: NodeJS.Immediate | undefined
  #cut: Timer | undefined
  #woken = false
  #endedBy: StreamEnding | undefined

  /** @throws MeshError as `Session.attach`. */
  constructor(session: Session, cursor: bigint, tokenExpiresAtMs: number, options: StreamPumpOptions) {
    this.#options = options
    this.#stream = session.attach(cursor, tokenExpiresAtMs, { wake: () => this.wake(), backlogBytes: 0 })
    options.signal.addEventListener('abort', this.close, { once: true })
    if (options.signal.aborted) this.close()
  }

  get stream(): SessionStream {
    return this.#stream
  }

  /** Why the server ended the stream; undefined while it is open, and when the client left. */
  get endedBy(): StreamEnding | undefined {
    return this.#endedBy
  }

  /** Something may be ready, here or at the caller. Handled once, at the end of this turn. */
  wake(): void {
    this.#woken = true
    this.#endedBy ??= this.#stream.ending
    if (this.#endedBy !== undefined) this.#cutLater()
    if (this.#wakeUp === undefined || this.#turn !== undefined) return
    this.#turn = setImmediate(() => {
      this.#turn = undefined
      this.#wakeUp?.()
    })
  }

  /** Resolves when `wake` was called since the last time; at once when the stream has something already. */
  async ready(): Promise<void> {
    if (!this.#woken && !this.#stream.hasMore && !this.#options.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
      })
      this.#wakeUp = undefined
    }
    this.#woken = false
  }

  /** What is new; empty when nothing is. */
  take(): StoredEvent[] {
    return this.#stream.take(MAX_BATCH_BYTES)
  }

  /** Leaves the session. Idempotent. */
  readonly close = (): void => {
    this.#options.signal.removeEventListener('abort', this.close)
    this.#cut?.cancel()
    if (this.#turn !== undefined) clearImmediate(this.#turn)
    this.#turn = undefined
    this.#stream.close()
    this.#woken = true
    this.#wakeUp?.()
  }

  /** A reader that is stuck never gets to the notice: after a while its transport goes. */
  #cutLater(): void {
    const { clock, call, streamEndMs } = this.#options
    this.#cut ??= clock.schedule(streamEndMs, call.cut)
  }
}
