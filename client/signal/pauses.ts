import { Backoff, type Clock, type Random } from '@mesh/core'
import { delay } from '../delay.ts'

const BACKOFF = { initialMs: 250, maxMs: 15_000, floorMs: 50 }
/** What clients of a server that was away for a moment are spread over. */
const SPREAD_MS = 2_000

/**
 * The waits of one client between its attempts at one server: backoff, and what the server asks for. Doubling soon outgrows the
 * outage, so no wait is longer than the outage so far: who was away for three seconds is found within three seconds of its return.
 * A server that says when to come back is there and has too much to do, so that limit is not for it.
 */
export class Pauses {
  readonly #clock: Clock
  readonly #backoff: Backoff
  /** Since when nothing has worked. */
  #sinceMs: number
  #skip = new AbortController()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#backoff = new Backoff({ ...BACKOFF, random })
    this.#sinceMs = clock.monotonicMs()
  }

  /** The backoff starts over. */
  reset(): void {
    this.#backoff.reset()
    this.#sinceMs = this.#clock.monotonicMs()
  }

  /** Cuts the backoff short, of the wait that runs or else of the next one, but not what the server asked for. */
  skip(): void {
    this.reset()
    this.#skip.abort()
  }

  /** Waits for the backoff, and at least what the server asked for, or 0. Never rejects; ends early when aborted. */
  async wait(atLeastMs: number, signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.monotonicMs()
    const limitMs = atLeastMs > 0 ? undefined : Math.max(SPREAD_MS, startedMs - this.#sinceMs)
    const skipped = AbortSignal.any([this.#skip.signal, signal])
    await delay(this.#clock, this.#backoff.next(limitMs), skipped).catch(() => undefined)
    this.#skip = new AbortController()
    const leftMs = startedMs + atLeastMs - this.#clock.monotonicMs()
    if (leftMs > 0) await delay(this.#clock, leftMs, signal).catch(() => undefined)
  }
}
