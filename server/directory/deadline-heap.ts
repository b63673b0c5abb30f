/** One entry of a `DeadlineHeap`; keep it to move or remove the deadline later. */
export class Deadline<T> {
  readonly item: T
  atMs: number
  /** Index in the heap, -1 when it is no longer in it. Written by the heap only. */
  position: number

  constructor(item: T, atMs: number, position: number) {
    this.item = item
    this.atMs = atMs
    this.position = position
  }
}

/**
 * Deadlines ordered by time: the next one is read in O(1), every change costs O(log n), and nothing is scanned.
 * Times are whatever the caller counts in, as long as it is always the same clock.
 */
export class DeadlineHeap<T> {
  readonly #entries: Deadline<T>[] = []

  get size(): number {
    return this.#entries.length
  }

  /** When the next deadline is due; undefined when there is none. */
  get nextAtMs(): number | undefined {
    return this.#entries[0]?.atMs
  }

  add(atMs: number, item: T): Deadline<T> {
    const entry = new Deadline(item, atMs, this.#entries.length)
    this.#entries.push(entry)
    this.#rise(entry)
    return entry
  }

  /** Changes when `entry` is due. Does nothing when it was removed. */
  move(entry: Deadline<T>, atMs: number): void {
    if (entry.position < 0) return
    entry.atMs = atMs
    this.#rise(entry)
    this.#sink(entry)
  }

  /** Takes `entry` out. Does nothing when it is out already. */
  remove(entry: Deadline<T>): void {
    const hole = entry.position
    if (hole < 0) return
    entry.position = -1
    const last = this.#entries.pop()
    if (last === undefined || last === entry) return
    this.#put(last, hole)
    this.#rise(last)
    this.#sink(last)
  }

  /** Takes out and returns one item that is due at `nowMs`, the earliest first. */
  popDue(nowMs: number): T | undefined {
    const first = this.#entries[0]
    if (first === undefined || first.atMs > nowMs) return undefined
    this.remove(first)
    return first.item
  }

  #put(entry: Deadline<T>, position: number): void {
    this.#entries[position] = entry
    entry.position = position
  }

  #rise(entry: Deadline<T>): void {
    while (entry.position > 0) {
      const parent = this.#entries[(entry.position - 1) >> 1] as Deadline<T>
      if (parent.atMs <= entry.atMs) return
      const position = parent.position
      this.#put(parent, entry.position)
      this.#put(entry, position)
    }
  }

  #sink(entry: Deadline<T>): void {
    for (;;) {
      const left = this.#entries[entry.position * 2 + 1]
      const right = this.#entries[entry.position * 2 + 2]
      const child = right !== undefined && left !== undefined && right.atMs < left.atMs ? right : left
      if (child === undefined || child.atMs >= entry.atMs) return
      const position = child.position
      this.#put(child, entry.position)
      this.#put(entry, position)
    }
  }
}
