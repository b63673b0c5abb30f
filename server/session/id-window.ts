import type { ByteKey } from '../byte-key.ts'

/**
 * What an id was last used for: its envelope was delivered or held by this server, or is elsewhere, in the care of another
 * one. The first two are here already when they come again; the third may come back, when its recipient has moved.
 */
export type IdFate = 'delivered' | 'held' | 'elsewhere'

/**
 * The last ids of one peer, to tell a repeated envelope from a new one. Two generations of half the size: when the young
 * one is full it becomes the old one, so at least `size / 2` and at most `size` ids are known, without a list to maintain.
 */
export class IdWindow {
  readonly #half: number
  #young = new Map<ByteKey, IdFate>()
  #old = new Map<ByteKey, IdFate>()

  constructor(size: number) {
    this.#half = Math.max(1, Math.ceil(size / 2))
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  has(id: ByteKey): boolean {
    return this.#young.has(id) || this.#old.has(id)
  }

  fateOf(id: ByteKey): IdFate | undefined {
    return this.#young.get(id) ?? this.#old.get(id)
  }

  /** Remembers an id that is new, or gives a known one another fate. */
  set(id: ByteKey, fate: IdFate): void {
    if (this.#old.has(id)) {
      this.#old.set(id, fate)
      return
    }
    if (this.#young.size >= this.#half && !this.#young.has(id)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(id, fate)
  }
}
