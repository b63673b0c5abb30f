import type { Http2Session } from 'node:http2'
import type { Clock, Timer } from '@mesh/core'

export interface Http2LivenessOptions {
  readonly clock: Clock
  readonly pingMs: number
  /** A connection on which nothing came for this long is closed. */
  readonly deadAfterMs: number
}

/**
 * Pings that may wait for their answers: each is a sign of life for the other side, whose answer may itself be stuck behind
 * what it sends. 128 every 2 s are the four minutes that 12 MiB of buffers take at 50 kB/s. An option of the connection.
 */
export const MAX_OUTSTANDING_PINGS = 128

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
  #timer: Timer | undefined
  #bytesRead = 0
  #heardMs: number
  #rttMs: number | undefined

  constructor(session: Http2Session, options: Http2LivenessOptions) {
    this.#options = options
    this.#session = session
    this.#heardMs = options.clock.monotonicMs()
    this.#lookLater(false)
    session.once('close', () => this.#timer?.cancel())
  }

  /** Round trip of the last ping that was answered, in ms. */
  get rttMs(): number | undefined {
    return this.#rttMs
  }

  /** Twice in an interval, so that what came is counted soon after it came: every other time with a ping. */
  #look(pingDue: boolean): void {
    if (this.#isSilent()) {
      this.#timer = this.#options.clock.schedule(SECOND_LOOK_MS, () => {
        if (this.#isSilent()) this.#session.destroy()
        else this.#look(pingDue)
      })
      return
    }
    if (pingDue) this.#ping()
    this.#lookLater(!pingDue)
  }

  #lookLater(pingDue: boolean): void {
    const { clock, pingMs } = this.#options
    this.#timer = clock.schedule(pingMs / 2, () => this.#look(pingDue))
  }

  #ping(): void {
    this.#session.ping((error, durationMs) => {
      if (error !== null) return
      this.#rttMs = durationMs
      this.#heardMs = this.#options.clock.monotonicMs()
    })
  }

  #isSilent(): boolean {
    if (this.#session.destroyed) return true
    const { clock, deadAfterMs } = this.#options
    const { bytesRead = 0 } = this.#session.socket
    if (bytesRead !== this.#bytesRead) {
      this.#bytesRead = bytesRead
      this.#heardMs = clock.monotonicMs()
    }
    return clock.monotonicMs() - this.#heardMs >= deadAfterMs
  }
}
