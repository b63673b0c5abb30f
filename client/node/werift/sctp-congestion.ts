/** How much may be in flight (RFC 9260 section 7.2). */
export class CongestionWindow {
  readonly #chunkBytes: number
  #bytes = INITIAL_BYTES
  #threshold = Number.POSITIVE_INFINITY
  #acknowledged = 0
  #before = { bytes: 0, threshold: 0 }

  /** `chunkBytes`: the data of the largest chunk. */
  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** So much arrived, and the window was full. */
  grow(bytes: number): void {
    // Not when they are equal, as RFC 9260 has it: that would take back at once what was halved.
    if (this.#bytes < this.#threshold) this.#add(Math.min(bytes, SLOW_START_CHUNKS * this.#chunkBytes))
    else {
      this.#acknowledged += bytes
      if (this.#acknowledged < this.#bytes) return
      this.#acknowledged -= this.#bytes
      this.#add(this.#chunkBytes)
    }
  }

  /** Something was lost, for the first time within a round trip. */
  reduce(): void {
    this.#before = { bytes: this.#bytes, threshold: this.#threshold }
    this.#threshold = Math.max(Math.floor(this.#bytes / 2), MIN_CHUNKS * this.#chunkBytes)
    this.#bytes = this.#threshold
    this.#acknowledged = 0
  }

  /** Nothing was lost after all when it was reduced last. */
  restore(): void {
    this.#bytes = Math.max(this.#bytes, this.#before.bytes)
    this.#threshold = Math.max(this.#threshold, this.#before.threshold)
  }

  /** Nothing arrives any more. */
  collapse(): void {
    this.reduce()
    this.#bytes = this.#chunkBytes
  }

  #add(bytes: number): void {
    this.#bytes = Math.min(this.#bytes + bytes, MAX_BYTES)
  }
}

/** 4 MiB, 40 MB/s at 100 ms: a peer that acknowledges much and then nothing must not make us keep more. */
const MAX_BYTES = 4_194_304

/** RFC 9260 section 7.2.1. */
const INITIAL_BYTES = 4404
/** RFC 9260 section 7.2.1 leaves the bound per acknowledgement open: sixteen packets, which ours may acknowledge at once. */
const SLOW_START_CHUNKS = 16
/** RFC 9260 section 7.2.3: fewer in flight would not bring the acknowledgements that show what was lost. */
const MIN_CHUNKS = 4
