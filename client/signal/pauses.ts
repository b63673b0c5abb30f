import { Backoff, type Clock, type Random } from '@mesh/core'
import { delay } from '../delay.ts'

const BACKOFF = { initialMs: 250, maxMs: 15_000, floorMs: 50 }

/** The waits of one client between its attempts at one server: backoff, and what the server asks for. */
export class Pauses {
  readonly #clock: Clock
  readonly #backoff: Backoff
  #skip = new AbortController()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#backoff = new Backoff({ ...BACKOFF, random })
  }

  /** The backoff starts over. */
  reset(): void {
    this.#backoff.reset()
  }

  /** Cuts the backoff short, of the wait that runs or else of the next one, but not what the server asked for. */
  skip(): void {
    this.reset()
    this.#skip.abort()
  }

  /** Waits for the backoff, and at least `atLeastMs`. Never rejects; ends early when aborted. */
  async wait(atLeastMs: number, signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.monotonicMs()
    await delay(this.#clock, this.#backoff.next(), AbortSignal.any([this.#skip.signal, signal])).catch(() => undefined)
    this.#skip = new AbortController()
    const leftMs = startedMs + atLeastMs - this.#clock.monotonicMs()
    if (leftMs > 0) await delay(this.#clock, leftMs, signal).catch(() => undefined)
  }
}
