import type { Random } from '../random.ts'

export interface BackoffOptions {
  /** Upper end of the first delay, in milliseconds. */
  initialMs: number
  /** Upper end of every delay, in milliseconds. */
  maxMs: number
  /** No delay is shorter. Default 0. */
  floorMs?: number
  random: Random
}

/**
 * Exponential backoff with full jitter: each delay is uniform in [0, min(maxMs, initialMs * 2^attempt)), raised to
 * floorMs. Full jitter, because clients that lost the same server at the same moment must not come back together.
 */
export class Backoff {
  readonly #options: BackoffOptions
  #attempt = 0

  constructor(options: BackoffOptions) {
    if (!(options.initialMs > 0) || !(options.maxMs >= options.initialMs)) {
      throw new RangeError(`Backoff needs 0 < initialMs <= maxMs, got ${options.initialMs} and ${options.maxMs}`)
    }
    this.#options = options
  }

  /** Delays handed out since the last reset. */
  get attempt(): number {
    return this.#attempt
  }

  /** The next delay in milliseconds, with an upper end of `atMostMs` where that is less than what is due. */
  next(atMostMs = Number.POSITIVE_INFINITY): number {
    const { initialMs, maxMs, floorMs = 0, random } = this.#options
    const ceilingMs = Math.min(maxMs, initialMs * 2 ** this.#attempt, atMostMs)
    this.#attempt += 1
    return Math.max(floorMs, random.uniform() * ceilingMs)
  }

  /** Starts over; to be called once the thing has worked for a while, not on the first sign of life. */
  reset(): void {
    this.#attempt = 0
  }
}
