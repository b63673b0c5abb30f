import type { Http2Session } from 'node:http2'
import type { Clock, Timer } from '@mesh/core'

export interface Http2LivenessOptions {
  readonly clock: Clock
  /** Interval of the pings, and how long an answer may take: a dead connection is closed after twice that. */
  readonly pingMs: number
}

/** After this process was paused, what came meanwhile is read before anybody is judged. */
const SECOND_LOOK_MS = 50

/**
 * Pings the other end of a connection, and closes the connection once nothing at all came for too long: neither an answer
 * nor anything else, as an answer may be stuck behind a megabyte on a slow line. Without it a connection whose other end
 * vanished without a word is found dead by TCP alone, after minutes.
 */
export class Http2Liveness {
  readonly #options: Http2LivenessOptions
  readonly #session: Http2Session
  #timer: Timer
  #bytesRead = 0
  #heardMs: number
  #waiting = false
  #rttMs: number | undefined

  constructor(session: Http2Session, options: Http2LivenessOptions) {
    this.#options = options
    this.#session = session
    this.#heardMs = options.clock.monotonicMs()
    this.#timer = options.clock.schedule(0, () => this.#tick())
    session.once('close', () => this.#timer.cancel())
  }

  /** Round trip of the last ping that was answered, in ms. */
  get rttMs(): number | undefined {
    return this.#rttMs
  }

  #tick(): void {
    const { clock, pingMs } = this.#options
    if (this.#session.destroyed) return
    this.#ping()
    this.#timer = clock.schedule(pingMs, () => {
      if (!this.#isSilent()) return this.#tick()
      this.#timer = clock.schedule(SECOND_LOOK_MS, () => {
        if (this.#isSilent()) this.#session.destroy()
        else this.#tick()
      })
    })
  }

  #ping(): void {
    if (this.#waiting) return
    this.#waiting = this.#session.ping((error, durationMs) => {
      this.#waiting = false
      if (error !== null) return
      this.#rttMs = durationMs
      this.#heardMs = this.#options.clock.monotonicMs()
    })
  }

  #isSilent(): boolean {
    if (this.#session.destroyed) return true
    const { clock, pingMs } = this.#options
    const { bytesRead = 0 } = this.#session.socket
    if (bytesRead !== this.#bytesRead) {
      this.#bytesRead = bytesRead
      this.#heardMs = clock.monotonicMs()
    }
    return clock.monotonicMs() - this.#heardMs >= 2 * pingMs
  }
}
