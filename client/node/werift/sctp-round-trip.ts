/** What measured round trips say about when an acknowledgement is late (RFC 9260 section 6.3.1, RFC 9002 section 6). */
export class RoundTrip {
  #smoothedMs: number | undefined
  #variationMs = 0
  #latestMs = 0
  #leastMs = Number.POSITIVE_INFINITY

  /** Of a packet that was sent once: what was sent twice does not say which of them came (Karn's rule). */
  sample(ms: number): void {
    this.#latestMs = ms
    this.#leastMs = Math.min(this.#leastMs, ms)
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = ms
      this.#variationMs = ms / 2
      return
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - ms) - this.#variationMs) / 4
    this.#smoothedMs += (ms - this.#smoothedMs) / 8
  }

  get leastMs(): number {
    return this.#leastMs
  }

  /** The longer one of the usual and the latest. */
  get recentMs(): number {
    return Math.max(this.#smoothedMs ?? INITIAL_TIMEOUT_MS, this.#latestMs)
  }

  /** When nothing at all has come for so long after the last packet, something is wrong. */
  get timeoutMs(): number {
    if (this.#smoothedMs === undefined) return INITIAL_TIMEOUT_MS
    return this.#smoothedMs + Math.max(4 * this.#variationMs, MARGIN_MS)
  }
}

/** As in Chromium. RFC 9260 section 16 has 1 s, for a timer that empties the window. */
const INITIAL_TIMEOUT_MS = 500
/** A turn of a busy event loop. RFC 9260 waits at least 1 s; here two packets ask, and that is all. */
const MARGIN_MS = 10
