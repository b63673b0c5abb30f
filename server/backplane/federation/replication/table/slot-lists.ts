const FIRST_ARENA = 1_024
const FIRST_LISTS = 16
const NO_BLOCK = 0xffff_ffff

/**
 * Many lists of slots in one typed array, named by small numbers. A million lists of one and one list of a million both
 * cost about 8 bytes a slot. Blocks are powers of two; a freed one waits for the next list of its size.
 */
export class SlotLists {
  #arena = new Uint32Array(FIRST_ARENA)
  #arenaUsed = 0
  /** Per list: where its block starts, how many slots it holds, and the binary logarithm of the block's size. */
  #starts = new Uint32Array(FIRST_LISTS).fill(NO_BLOCK)
  #counts = new Uint32Array(FIRST_LISTS)
  #classes = new Uint8Array(FIRST_LISTS)
  /** Per class, the first free block; each free block holds where the next one starts. */
  readonly #free: number[] = []

  get capacityBytes(): number {
    return this.#arena.byteLength + this.#starts.byteLength + this.#counts.byteLength + this.#classes.byteLength
  }

  count(list: number): number {
    return this.#counts[list] ?? 0
  }

  at(list: number, index: number): number {
    return this.#arena[(this.#starts[list] as number) + index] as number
  }

  set(list: number, index: number, slot: number): void {
    this.#arena[(this.#starts[list] as number) + index] = slot
  }

  /** A copy of the whole list. */
  slots(list: number): Uint32Array {
    const start = this.#starts[list] as number
    return this.count(list) === 0 ? new Uint32Array() : this.#arena.slice(start, start + this.count(list))
  }

  /** Appends, and returns the index. */
  push(list: number, slot: number): number {
    this.#makeList(list)
    const count = this.#counts[list] as number
    if (count === 0) this.#starts[list] = this.#allocate(0)
    else if (count === 1 << (this.#classes[list] as number)) this.#move(list, (this.#classes[list] as number) + 1)
    this.#counts[list] = count + 1
    this.set(list, count, slot)
    return count
  }

  /** Takes the slot at `index` away: the last one of the list moves there, and is returned. */
  remove(list: number, index: number): number {
    const count = (this.#counts[list] as number) - 1
    const last = this.at(list, count)
    this.set(list, index, last)
    this.#counts[list] = count
    const shift = this.#classes[list] as number
    if (count === 0) {
      this.#release(this.#starts[list] as number, shift)
      this.#starts[list] = NO_BLOCK
      this.#classes[list] = 0
    } else if (count * 4 <= 1 << shift) {
      // At a quarter, not at half: a list that swings around a power of two is not copied all the time.
      this.#move(list, shift - 1)
    }
    return last
  }

  /** Takes everything away. */
  clear(list: number): void {
    if (this.count(list) === 0) return
    this.#release(this.#starts[list] as number, this.#classes[list] as number)
    this.#starts[list] = NO_BLOCK
    this.#counts[list] = 0
    this.#classes[list] = 0
  }

  /** Moves a list to a block of another class. */
  #move(list: number, shift: number): void {
    const from = this.#starts[list] as number
    const to = this.#allocate(shift)
    this.#arena.copyWithin(to, from, from + (this.#counts[list] as number))
    this.#release(from, this.#classes[list] as number)
    this.#starts[list] = to
    this.#classes[list] = shift
  }

  #allocate(shift: number): number {
    const free = this.#free[shift] ?? NO_BLOCK
    if (free !== NO_BLOCK) {
      this.#free[shift] = this.#arena[free] as number
      return free
    }
    const start = this.#arenaUsed
    this.#arenaUsed += 1 << shift
    if (this.#arenaUsed > this.#arena.length) {
      const larger = new Uint32Array(Math.max(2 * this.#arena.length, this.#arenaUsed))
      larger.set(this.#arena)
      this.#arena = larger
    }
    return start
  }

  #release(start: number, shift: number): void {
    while (this.#free.length <= shift) this.#free.push(NO_BLOCK)
    this.#arena[start] = this.#free[shift] as number
    this.#free[shift] = start
  }

  #makeList(list: number): void {
    const lists = this.#starts.length
    if (list < lists) return
    const starts = new Uint32Array(Math.max(2 * lists, list + 1)).fill(NO_BLOCK)
    starts.set(this.#starts)
    this.#starts = starts
    this.#counts = resized(this.#counts, new Uint32Array(starts.length))
    this.#classes = resized(this.#classes, new Uint8Array(starts.length))
  }
}

function resized<A extends Uint8Array | Uint32Array>(old: A, larger: A): A {
  larger.set(old)
  return larger
}
