import { concatBytes } from '@mesh/core'
import { retained } from '../retained.ts'

/** Pieces from this size on are kept as they came; smaller ones are copied together. */
const SMALL_BYTES = 4_096
/** Where small pieces are copied to: one full frame. */
const BLOCK_BYTES = 16_000

/**
 * Bytes in order, kept in few blocks: a flood of one-byte pieces costs about what it counts. A single piece is never
 * copied, so a reader that keeps up gets what the packet brought.
 */
export class Chunks {
  /** Those before `#head` were taken; at most one more than wait. */
  #blocks: Uint8Array[] = []
  #head = 0
  #bytes = 0
  /** Being filled; newer than all blocks. */
  #tail: Uint8Array | undefined
  #tailBytes = 0

  get bytes(): number {
    return this.#bytes
  }

  append(data: Uint8Array): void {
    this.#bytes += data.length
    const empty = this.#head === this.#blocks.length && this.#tailBytes === 0
    if (empty || data.length >= SMALL_BYTES) {
      this.#seal()
      this.#blocks.push(retained(data))
      return
    }
    if (this.#tailBytes + data.length > BLOCK_BYTES) this.#seal()
    this.#tail ??= new Uint8Array(BLOCK_BYTES)
    this.#tail.set(data, this.#tailBytes)
    this.#tailBytes += data.length
  }

  /** Removes and returns the oldest block. */
  shift(): Uint8Array | undefined {
    if (this.#head === this.#blocks.length) this.#seal()
    const block = this.#blocks[this.#head]
    if (block === undefined) return undefined
    this.#head += 1
    // Also while others wait: what was read must not be kept until the reader has caught up.
    if (this.#head * 2 > this.#blocks.length) {
      this.#blocks = this.#blocks.slice(this.#head)
      this.#head = 0
    }
    this.#bytes -= block.length
    return block
  }

  /** Removes everything and returns it in one piece. */
  takeAll(): Uint8Array {
    this.#seal()
    const all = concatBytes(...this.#blocks.slice(this.#head))
    this.clear()
    return all
  }

  clear(): void {
    this.#blocks = []
    this.#head = this.#bytes = this.#tailBytes = 0
    this.#tail = undefined
  }

  #seal(): void {
    if (this.#tail === undefined) return
    this.#blocks.push(retained(this.#tail.subarray(0, this.#tailBytes)))
    this.#tail = undefined
    this.#tailBytes = 0
  }
}
