const FIRST_CAPACITY = 16

/** Answers "nothing there". */
export const NONE = 0xffff_ffff

/**
 * An open-addressing hash table from 32 bit hashes to slots (numbers below 2^32 - 1), in one typed array: 8 bytes a cell,
 * at most three quarters of them taken. It knows no keys: who looks something up compares the slots that have the hash.
 * Removal shifts the cells behind, so that nothing is left that would have to be cleaned up.
 *
 * ```
 * for (let at = index.first(hash); at !== NONE; at = index.next(at, hash)) if (isIt(index.slot(at))) ...
 * ```
 */
export class HashIndex {
  /** Pairs: hash, slot + 1; a second number of 0 is an empty cell. */
  #cells = new Uint32Array(2 * FIRST_CAPACITY)
  #mask = FIRST_CAPACITY - 1
  /** What a hash is shifted by: its highest bits say where it belongs, so that a table that grows is copied in order. */
  #shift = Math.clz32(FIRST_CAPACITY - 1)
  #size = 0

  get size(): number {
    return this.#size
  }

  get capacityBytes(): number {
    return this.#cells.byteLength
  }

  /** The first cell with the hash, or NONE. */
  first(hash: number): number {
    return this.#find(hash >>> this.#shift, hash)
  }

  /** The cell with the hash after `cell`, or NONE. */
  next(cell: number, hash: number): number {
    return this.#find((cell + 1) & this.#mask, hash)
  }

  slot(cell: number): number {
    return (this.#cells[2 * cell + 1] as number) - 1
  }

  /** Lets the cell name another slot with the same hash. */
  replace(cell: number, slot: number): void {
    this.#cells[2 * cell + 1] = slot + 1
  }

  add(hash: number, slot: number): void {
    if ((this.#size + 1) * 4 > (this.#mask + 1) * 3) this.#grow()
    this.#size += 1
    this.#place(hash, slot + 1)
  }

  remove(cell: number): void {
    const cells = this.#cells
    this.#size -= 1
    let hole = cell
    for (let at = (cell + 1) & this.#mask; cells[2 * at + 1] !== 0; at = (at + 1) & this.#mask) {
      // What lies between its home and here may move into the hole only if its home is not behind the hole.
      const home = (cells[2 * at] as number) >>> this.#shift
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue
      cells[2 * hole] = cells[2 * at] as number
      cells[2 * hole + 1] = cells[2 * at + 1] as number
      hole = at
    }
    cells[2 * hole + 1] = 0
  }

  #find(start: number, hash: number): number {
    const cells = this.#cells
    for (let at = start; ; at = (at + 1) & this.#mask) {
      if (cells[2 * at + 1] === 0) return NONE
      if (cells[2 * at] === hash) return at
    }
  }

  #place(hash: number, slotPlusOne: number): void {
    const cells = this.#cells
    let at = hash >>> this.#shift
    while (cells[2 * at + 1] !== 0) at = (at + 1) & this.#mask
    cells[2 * at] = hash
    cells[2 * at + 1] = slotPlusOne
  }

  #grow(): void {
    const old = this.#cells
    this.#cells = new Uint32Array(2 * old.length)
    this.#mask = this.#cells.length / 2 - 1
    this.#shift -= 1
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] !== 0) this.#place(old[at] as number, old[at + 1] as number)
    }
  }
}
