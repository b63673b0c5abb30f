import { HashIndex, NONE } from '../replication/table/hash-index.ts'

/** What has a number of its own. */
interface Numbered {
  readonly number: number
}

/**
 * Things by their numbers, of which most come and go within milliseconds. Not a `Map`: one that is emptied as fast as it is filled
 * renews its inner table all the time, and each of those that got old leads to the next, so that V8's young generation
 * kept whatever had been in them.
 */
export class AttemptTable<T extends Numbered> {
  readonly #index = new HashIndex()
  readonly #items: (T | undefined)[] = []
  /** Places in `#items` that are free. */
  readonly #free: number[] = []

  get size(): number {
    return this.#index.size
  }

  add(item: T): void {
    const place = this.#free.pop() ?? this.#items.length
    this.#items[place] = item
    this.#index.add(hashOf(item.number), place)
  }

  get(number: number): T | undefined {
    const cell = this.#cell(number)
    return cell === NONE ? undefined : this.#items[this.#index.slot(cell)]
  }

  /** False when it was not there. */
  delete(number: number): boolean {
    const cell = this.#cell(number)
    if (cell === NONE) return false
    const place = this.#index.slot(cell)
    this.#index.remove(cell)
    this.#items[place] = undefined
    this.#free.push(place)
    return true
  }

  /** Takes everything out, in the order of the numbers. */
  takeAll(): T[] {
    const items = this.#items.filter((item) => item !== undefined)
    for (const { number } of items) this.delete(number)
    return items.sort((a, b) => a.number - b.number)
  }

  #cell(number: number): number {
    const hash = hashOf(number)
    let cell = this.#index.first(hash)
    while (cell !== NONE && this.#items[this.#index.slot(cell)]?.number !== number) cell = this.#index.next(cell, hash)
    return cell
  }
}

/** Numbers that follow each other must not lie beside each other: a removal passes over all cells up to the next empty one. */
function hashOf(number: number): number {
  const spread = Math.imul(number | 0, 0x9e3779b1)
  return (spread ^ (spread >>> 15)) >>> 0
}
