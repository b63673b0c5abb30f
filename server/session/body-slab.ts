/** 4 KiB: about twelve messages of 200 bytes with their envelopes. */
const SLAB_BYTES = 4_096

/** Messages that come closer together than this share a slab. */
const BURST_MS = 50

/**
 * Memory for the events of one session. Allocating costs more than filling, so bodies that follow each other quickly are cut
 * from one slab. The slab belongs to one session, whose queue is first in, first out: it is freed when its last event is, and
 * nobody's small message keeps somebody else's large slab alive.
 */
export class BodySlab {
  #slab: ArrayBuffer | undefined
  #used = 0
  #lastMs = Number.NEGATIVE_INFINITY

  /** `bytes` bytes, zeroed, for the session's next event. */
  allocate(bytes: number, nowMs: number): Uint8Array {
    const burst = nowMs - this.#lastMs < BURST_MS
    this.#lastMs = nowMs
    if (!burst || bytes > SLAB_BYTES / 4) {
      if (!burst) this.#slab = undefined
      return new Uint8Array(bytes)
    }
    if (this.#slab === undefined || this.#used + bytes > SLAB_BYTES) {
      this.#slab = new ArrayBuffer(SLAB_BYTES)
      this.#used = 0
    }
    const body = new Uint8Array(this.#slab, this.#used, bytes)
    this.#used += bytes
    return body
  }
}
