import type { Clock } from './clock.ts'

export interface TokenBucketOptions {
  /** Tokens that flow in per second. */
  perSecond: number
  /** Tokens the bucket holds; it starts full. */
  burst: number
  clock: Pick<Clock, 'monotonicMs'>
}

/** A billionth of a token: refilling in many small steps must not end a hair below a whole one. */
const ROUNDING = 1e-9

/** A rate limit: `burst` at once, `perSecond` in the long run. Exact on the monotonic clock, without a timer. */
export class TokenBucket {
  readonly #options: TokenBucketOptions
  #tokens: number
  #filledAtMs: number

  constructor(options: TokenBucketOptions) {
    this.#options = options
    this.#tokens = options.burst
    this.#filledAtMs = options.clock.monotonicMs()
  }

  /** Takes `count` tokens (default 1) and returns true, or takes none and returns false. */
  take(count = 1): boolean {
    this.#fill()
    if (this.#tokens < count - ROUNDING) return false
    this.#tokens -= count
    return true
  }

  /** Milliseconds until `count` tokens are there: 0 for now, Infinity when the bucket can never hold them. */
  msUntil(count = 1): number {
    this.#fill()
    if (this.#tokens >= count - ROUNDING) return 0
    const { perSecond, burst } = this.#options
    if (count > burst || perSecond <= 0) return Number.POSITIVE_INFINITY
    return Math.ceil(((count - this.#tokens) * 1_000) / perSecond)
  }

  /** Whether nothing is missing: a full bucket may be forgotten and made anew. */
  get full(): boolean {
    this.#fill()
    return this.#tokens >= this.#options.burst
  }

  #fill(): void {
    const nowMs = this.#options.clock.monotonicMs()
    const gained = ((nowMs - this.#filledAtMs) * this.#options.perSecond) / 1_000
    this.#tokens = Math.min(this.#options.burst, this.#tokens + gained)
    this.#filledAtMs = nowMs
  }
}
