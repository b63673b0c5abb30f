/** What happens to a push that does not fit: the new item is refused, or the oldest make room. */
export type OverflowPolicy = 'refuse' | 'drop-oldest'

export interface BoundedQueueOptions<T> {
  /** At least 1. */
  maxItems: number
  /** Default: no bound on bytes. */
  maxBytes?: number
  /** Bytes of an item, at least 0, asked once when it is pushed. Needed when `maxBytes` is given; default 0. */
  sizeOf?: (item: T) => number
  overflow: OverflowPolicy
}

interface Entry<T> {
  readonly item: T
  readonly bytes: number
}

/** First in, first out, bounded by count and by bytes. Every queue in MESH is one of these. */
export class BoundedQueue<T> implements Iterable<T> {
  readonly #options: BoundedQueueOptions<T>
  /** Entries before `#head` are gone; the array is compacted when they are half of it. */
  #entries: (Entry<T> | undefined)[] = []
  #head = 0
  #bytes = 0
  #dropped = 0

  constructor(options: BoundedQueueOptions<T>) {
    if (!(options.maxItems >= 1)) throw new RangeError(`maxItems must be at least 1, got ${options.maxItems}`)
    if (options.maxBytes !== undefined && options.sizeOf === undefined) {
      throw new RangeError('maxBytes needs sizeOf')
    }
    this.#options = options
  }

  get length(): number {
    return this.#entries.length - this.#head
  }

  /** Bytes of all queued items. */
  get bytes(): number {
    return this.#bytes
  }

  /** Items refused or dropped for want of room since the queue was made. */
  get dropped(): number {
    return this.#dropped
  }

  /** Appends. False when the item was refused: by policy, or because it alone exceeds `maxBytes`. */
  push(item: T): boolean {
    const { maxItems, maxBytes = Number.POSITIVE_INFINITY, sizeOf, overflow } = this.#options
    const bytes = sizeOf === undefined ? 0 : sizeOf(item)
    const fits = (): boolean => this.length < maxItems && this.#bytes + bytes <= maxBytes
    if (bytes > maxBytes || (overflow === 'refuse' && !fits())) {
      this.#dropped += 1
      return false
    }
    while (!fits()) {
      this.shift()
      this.#dropped += 1
    }
    this.#entries.push({ item, bytes })
    this.#bytes += bytes
    return true
  }

  /** Removes and returns the oldest item. */
  shift(): T | undefined {
    const entry = this.#entries[this.#head]
    if (entry === undefined) return undefined
    this.#entries[this.#head] = undefined
    this.#head += 1
    this.#bytes -= entry.bytes
    if (this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head)
      this.#head = 0
    }
    return entry.item
  }

  /** The oldest item, left where it is. */
  peek(): T | undefined {
    return this.#entries[this.#head]?.item
  }

  /** Removes everything; what is removed does not count as dropped. */
  clear(): void {
    this.#entries = []
    this.#head = 0
    this.#bytes = 0
  }

  /** Oldest first, without removing. */
  *[Symbol.iterator](): Iterator<T> {
    for (let i = this.#head; i < this.#entries.length; i++) yield (this.#entries[i] as Entry<T>).item
  }
}
