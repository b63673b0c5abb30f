import type { ByteKey } from '../byte-key.ts'

/**
 * The last ids of one peer, to tell a repeated envelope from a new one. Two generations of half the size: when the young
 * one is full it becomes the old one, so at least `size / 2` and at most `size` ids are known, without a list to maintain.
 */
export class IdWindow {
  readonly #half: number
  #young = new Set<ByteKey>()
  #old = new Set<ByteKey>()

  constructor(size: number) {
    this.#half = Math.max(1, Math.ceil(size / 2))
  }

  has(id: ByteKey): boolean {
    return this.#young.has(id) || this.#old.has(id)
  }

  add(id: ByteKey): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young
      this.#young = new Set()
    }
    this.#young.add(id)
  }
}
