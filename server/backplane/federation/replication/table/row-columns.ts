import { NONE } from './hash-index.ts'

const FIRST_CAPACITY = 64

/** Flags of a row. Its signature was found good; or it is kept, because its origin has it, and is not shown. */
export const ROW_VERIFIED = 1
export const ROW_WITHHELD = 2
/** It is not the first of its chain. */
export const ROW_BEHIND = 4

/** What is held of a row beside its signed bytes: one element per column, 35 bytes. A row is the slot of its elements. */
export class RowColumns {
  /** Number of its table, of its topic, and of its bytes in the table's slab. */
  table = new Uint16Array(FIRST_CAPACITY)
  topic = new Uint32Array(FIRST_CAPACITY)
  entry = new Uint32Array(FIRST_CAPACITY)
  /** Where in those bytes the peer's key and the session id start. */
  peerAt = new Uint16Array(FIRST_CAPACITY)
  sessionAt = new Uint16Array(FIRST_CAPACITY)
  flags = new Uint8Array(FIRST_CAPACITY)
  /** MembershipRecord.session_order, by which the rows of a peer are ranked. */
  order = new BigUint64Array(FIRST_CAPACITY)
  /** The next row of the same peer in the same topic, at another home; of a free slot, the next free one. */
  next = new Uint32Array(FIRST_CAPACITY)
  /** Its place in the list of its table, and in the list of what the topic shows: NONE while another home is shown. */
  tableAt = new Uint32Array(FIRST_CAPACITY)
  shownAt = new Uint32Array(FIRST_CAPACITY)
  #used = 0
  #firstFree = NONE

  get capacityBytes(): number {
    return this.table.length * 35
  }

  allocate(): number {
    const free = this.#firstFree
    if (free !== NONE) {
      this.#firstFree = this.next[free] as number
      return free
    }
    if (this.#used === this.table.length) this.#grow()
    return this.#used++
  }

  release(slot: number): void {
    this.next[slot] = this.#firstFree
    this.#firstFree = slot
  }

  #grow(): void {
    this.table = doubled(this.table, Uint16Array)
    this.topic = doubled(this.topic, Uint32Array)
    this.entry = doubled(this.entry, Uint32Array)
    this.peerAt = doubled(this.peerAt, Uint16Array)
    this.sessionAt = doubled(this.sessionAt, Uint16Array)
    this.flags = doubled(this.flags, Uint8Array)
    const order = new BigUint64Array(2 * this.order.length)
    order.set(this.order)
    this.order = order
    this.next = doubled(this.next, Uint32Array)
    this.tableAt = doubled(this.tableAt, Uint32Array)
    this.shownAt = doubled(this.shownAt, Uint32Array)
  }
}

function doubled<A extends Uint8Array | Uint16Array | Uint32Array>(column: A, Column: new (length: number) => A): A {
  const larger = new Column(2 * column.length)
  larger.set(column)
  return larger
}
