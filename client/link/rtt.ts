import type { LinkLimits } from './link-limits.ts'

/** Granularity of the clock (RFC 6298 G): the variation never counts for less. */
const GRANULARITY_MS = 1

/**
 * Round-trip time of one path, smoothed, and the retransmission timeout that follows from it (RFC 6298 section 2).
 * Samples come only from frames that were sent once (Karn's algorithm, section 3); the caller sees to that.
 */
export class RttEstimator {
  #smoothedMs: number | undefined
  #variationMs = 0
  #latestMs = 0

  /** Adds a measurement, in milliseconds. */
  sample(rttMs: number): void {
    this.#latestMs = rttMs
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = rttMs
      this.#variationMs = rttMs / 2
      return
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - rttMs) - this.#variationMs) / 4
    this.#smoothedMs += (rttMs - this.#smoothedMs) / 8
  }

  /** Undefined until the first sample. */
  get smoothedMs(): number | undefined {
    return this.#smoothedMs
  }

  /** Retransmission timeout before backoff, within the given floor and the ceiling of the limits. */
  rtoMs(minMs: number, limits: Pick<LinkLimits, 'initialRtoMs' | 'maxRtoMs'>): number {
    if (this.#smoothedMs === undefined) return limits.initialRtoMs
    const timeoutMs = this.#smoothedMs + Math.max(GRANULARITY_MS, 4 * this.#variationMs)
    return Math.min(limits.maxRtoMs, Math.max(minMs, timeoutMs))
  }

  /**
   * How long a frame may be overtaken before it counts as lost: 9/8 of a round trip (RFC 9002 section 6.1.2), and
   * never less than 10 ms, the jitter of two event loops.
   */
  reorderingMs(initialRtoMs: number): number {
    if (this.#smoothedMs === undefined) return initialRtoMs
    return Math.max(10, (9 / 8) * Math.max(this.#smoothedMs, this.#latestMs))
  }
}
