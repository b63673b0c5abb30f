/** Smallest ring; an idle link holds no more than this. */
const INITIAL_SLOTS = 64

/**
 * Values by sequence number, for numbers that lie close together: every access is one array index. The ring doubles
 * while the span from the lowest to the highest number in it does not fit; its user bounds that span.
 */
export class SeqRing<T> {
  #slots: (T | undefined)[] = new Array(INITIAL_SLOTS).fill(undefined)
  #mask = INITIAL_SLOTS - 1

  /** The value at `seq`, which must lie within the span in use. */
  get(seq: number): T | undefined {
    return this.#slots[seq & this.#mask]
  }

  /** Puts a value. `lowest` is the lowest number in use, `highest` the highest, `seq` included. */
  set(seq: number, value: T, lowest: number, highest: number): void {
    if (highest - lowest > this.#mask) this.#grow(lowest, highest)
    this.#slots[seq & this.#mask] = value
  }

  delete(seq: number): void {
    this.#slots[seq & this.#mask] = undefined
  }

  #grow(lowest: number, highest: number): void {
    let size = this.#slots.length
    while (highest - lowest >= size) size *= 2
    const slots: (T | undefined)[] = new Array(size).fill(undefined)
    for (let seq = lowest; seq < lowest + this.#slots.length; seq++) {
      slots[seq & (size - 1)] = this.#slots[seq & this.#mask]
    }
    this.#slots = slots
    this.#mask = size - 1
  }
}
