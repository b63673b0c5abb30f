/** 2^64 - 1: the end of the numbers; accepting it would leave no later one. */
const LAST_U64 = 2n ** 64n - 1n

/**
 * Which numbers of a rising sequence have been seen. Numbers may come out of order; those more than `size` below the
 * highest count as seen. 0 and 2^64 - 1 are never accepted. Memory: size / 8 bytes.
 */
export class ReplayWindow {
  readonly #size: bigint
  /** One bit per number, at number modulo #capacity; valid for (highest - size) .. highest. */
  readonly #seen: Uint32Array
  readonly #capacity: number
  #highest = 0n

  constructor(size: number) {
    if (!Number.isInteger(size) || size < 1) throw new RangeError(`A replay window has 1 or more numbers, not ${size}`)
    this.#size = BigInt(size)
    // size + 1 numbers are told apart: the highest, and `size` below it.
    this.#seen = new Uint32Array(Math.floor(size / 32) + 1)
    this.#capacity = this.#seen.length * 32
  }

  /** The highest number accepted; 0n before the first. */
  get highest(): bigint {
    return this.#highest
  }

  /** Whether `accept` would take the number. Changes nothing. */
  check(seq: bigint): boolean {
    if (seq <= 0n || seq >= LAST_U64) return false
    if (seq > this.#highest) return true
    if (this.#highest - seq > this.#size) return false
    return !this.#has(seq)
  }

  /** Takes the number: true the first time, false when it was seen or is too old. Call only for verified input. */
  accept(seq: bigint): boolean {
    if (!this.check(seq)) return false
    if (seq > this.#highest) this.#advance(seq)
    const bit = this.#bitOf(seq)
    this.#seen[bit >>> 5] = (this.#seen[bit >>> 5] as number) | (1 << (bit & 31))
    return true
  }

  #has(seq: bigint): boolean {
    const bit = this.#bitOf(seq)
    return (((this.#seen[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1
  }

  /** Forgets what falls out below: the bits are reused by the numbers above. */
  #advance(seq: bigint): void {
    const step = seq - this.#highest
    if (step >= BigInt(this.#capacity)) {
      this.#seen.fill(0)
    } else {
      for (let i = 1n; i <= step; i++) {
        const bit = this.#bitOf(this.#highest + i)
        this.#seen[bit >>> 5] = (this.#seen[bit >>> 5] as number) & ~(1 << (bit & 31))
      }
    }
    this.#highest = seq
  }

  #bitOf(seq: bigint): number {
    return Number(seq % BigInt(this.#capacity))
  }
}
