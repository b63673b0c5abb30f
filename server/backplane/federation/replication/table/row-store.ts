import type { Random } from '@mesh/core'
import { type Row, RowSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type SignedRecord, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { type ByteKey, bytesOfKey } from '../../../../byte-key.ts'
import { ByteSlab } from './byte-slab.ts'
import { HashIndex, NONE } from './hash-index.ts'
import { KeyedHash } from './keyed-hash.ts'
import type { NewRow } from './new-row.ts'
import type { Place } from './place.ts'
import { type RecordFields, readRecordFields } from './record-fields.ts'
import { ROW_BEHIND, RowColumns } from './row-columns.ts'
import { rowHash } from './row-digest.ts'
import { RowTable } from './row-table.ts'
import { SlotLists } from './slot-lists.ts'
import { TableView } from './table-view.ts'
import { TopicTable } from './topic-table.ts'

const ROW = RowSchema.typeName
const SIGNED_RECORD = SignedRecordSchema.typeName

/** In the slab a row is its signature, then its record. */
const SIGNATURE_BYTES = 64
const KEY_BYTES = 32

/**
 * The rows of all origins, found by (table, topic, peer), by (topic, peer) over all tables, and by table.
 *
 * A row is a slot in typed arrays and an entry in the slab of its table: about 55 bytes beside its signed record and none
 * on the JavaScript heap, so that a million of them cost no garbage collection. Rows of one peer in one topic, which it
 * has when it moves or uses several servers, are a chain that starts in the index.
 */
export class RowStore {
  readonly topics: TopicTable
  readonly columns = new RowColumns()
  readonly #hash: KeyedHash
  /** By (topic, peer): the first row of the chain. */
  readonly #index = new HashIndex()
  readonly #tables: (RowTable | undefined)[] = []
  /** Where keys that are looked up are spelled out: this happens for every message. */
  readonly #topicBytes = new Uint8Array(KEY_BYTES)
  readonly #peerKeyBytes = new Uint8Array(KEY_BYTES)
  /** Per table number, its rows. */
  readonly #tableSlots = new SlotLists()

  constructor(random: Random) {
    this.#hash = new KeyedHash(random)
    this.topics = new TopicTable(this.#hash)
  }

  /** Bytes outside the JavaScript heap. */
  get capacityBytes(): number {
    const slabs = this.#tables.reduce((sum, table) => sum + (table?.slab.capacityBytes ?? 0), 0)
    const indexes = this.#index.capacityBytes + this.topics.capacityBytes + this.#tableSlots.capacityBytes
    return slabs + indexes + this.columns.capacityBytes
  }

  createTable(origin: ByteKey): RowTable {
    const vacant = this.#tables.indexOf(undefined)
    const number = vacant < 0 ? this.#tables.length : vacant
    const slab = new ByteSlab((slot, entry) => {
      this.columns.entry[slot] = entry
    })
    const table = new RowTable(number, origin, slab)
    this.#tables[number] = table
    return table
  }

  /** The row's slot, or NONE. */
  find(table: RowTable, topic: Uint8Array, peer: Uint8Array): number {
    return this.place(table, topic, peer).slot
  }

  /** Where the row of a peer in a topic is, or would be. */
  place(table: RowTable, topic: Uint8Array, peer: Uint8Array): Place {
    const number = this.topics.find(topic)
    if (number === NONE) return { first: NONE, slot: NONE, topic: NONE, hash: 0 }
    const hash = this.#hash.of(peer, number)
    const cell = this.#cell(number, peer, hash)
    const first = cell === NONE ? NONE : this.#index.slot(cell)
    let slot = first
    while (slot !== NONE && this.columns.table[slot] !== table.number) slot = this.nextHome(slot)
    return { first, slot, topic: number, hash }
  }

  /** The first of a peer's rows in a topic, in any table, or NONE; the others follow by `nextHome`. */
  firstHome(topic: Uint8Array, peer: Uint8Array): number {
    const number = this.topics.find(topic)
    if (number === NONE) return NONE
    const cell = this.#cell(number, peer)
    return cell === NONE ? NONE : this.#index.slot(cell)
  }

  /** The same, by keys; NONE too when they have not the length of keys. */
  firstHomeOf(topicKey: ByteKey, peer: ByteKey): number {
    if (topicKey.length !== KEY_BYTES || peer.length !== KEY_BYTES) return NONE
    return this.firstHome(bytesOfKey(topicKey, this.#topicBytes), bytesOfKey(peer, this.#peerKeyBytes))
  }

  /** The first row of the chain that a row is in. */
  firstOf(slot: number): number {
    if (((this.columns.flags[slot] as number) & ROW_BEHIND) === 0) return slot
    return this.#index.slot(this.#cell(this.columns.topic[slot] as number, this.#peerBytes(slot)))
  }

  nextHome(slot: number): number {
    return this.columns.next[slot] as number
  }

  /** Adds a row that the table does not have. */
  insert(table: RowTable, { topic, peerKey, signed, fields }: NewRow, place: Place): number {
    const { columns } = this
    const slot = columns.allocate()
    const isKnown = place.topic !== NONE
    const number = isKnown ? this.topics.useAgain(place.topic) : this.topics.use(topic)
    columns.table[slot] = table.number
    columns.topic[slot] = number
    columns.flags[slot] = 0
    columns.shownAt[slot] = NONE
    columns.tableAt[slot] = this.#tableSlots.push(table.number, slot)
    this.#write(table, slot, signed, fields)
    this.#link(slot, place.first, isKnown ? place.hash : this.#hash.of(peerKey, number))
    table.rows += 1
    // Asked first: to go through nobody costs as much as a look-up.
    if (table.views.size > 0) for (const view of table.views) view.keep(slot, undefined)
    return slot
  }

  /** Gives a row a newer record. */
  rewrite(slot: number, { signed, fields }: NewRow): void {
    const table = this.tableOf(slot)
    this.#retire(table, slot)
    this.columns.flags[slot] = (this.columns.flags[slot] as number) & ROW_BEHIND
    this.#write(table, slot, signed, fields)
  }

  /** Sets flags of a row. */
  mark(slot: number, flags: number): void {
    this.columns.flags[slot] = (this.columns.flags[slot] as number) | flags
  }

  has(slot: number, flag: number): boolean {
    return ((this.columns.flags[slot] as number) & flag) !== 0
  }

  remove(slot: number): void {
    const table = this.tableOf(slot)
    const { columns } = this
    const at = columns.tableAt[slot] as number
    columns.tableAt[this.#tableSlots.remove(table.number, at)] = at
    this.#unlink(slot)
    this.#retire(table, slot)
    this.topics.release(columns.topic[slot] as number)
    columns.release(slot)
    table.rows -= 1
  }

  /** Takes a table with all its rows away. Nothing of it may be shown any more. */
  dropTable(table: RowTable): void {
    for (const view of table.views) view.close()
    for (const slot of this.#tableSlots.slots(table.number)) {
      this.#unlink(slot)
      this.topics.release(this.columns.topic[slot] as number)
      this.columns.release(slot)
    }
    this.#tableSlots.clear(table.number)
    this.#tables[table.number] = undefined
    table.rows = 0
  }

  /** The table's rows, as they are now. */
  slotsOf(table: RowTable): Uint32Array {
    return this.#tableSlots.slots(table.number)
  }

  /** The table as it is now, for somebody who reads it page by page while it changes. */
  view(table: RowTable): TableView {
    return new TableView(table, this.slotsOf(table), (slot) => this.row(slot))
  }

  tableOf(slot: number): RowTable {
    return this.#tables[this.columns.table[slot] as number] as RowTable
  }

  /** Signature and record, where they lie: valid until the next change. */
  bytes(slot: number): Uint8Array {
    return this.tableOf(slot).slab.view(this.columns.entry[slot] as number)
  }

  order(slot: number): bigint {
    return this.columns.order[slot] as bigint
  }

  fields(slot: number): RecordFields {
    return readRecordFields(this.bytes(slot).subarray(SIGNATURE_BYTES))
  }

  peer(slot: number): ByteKey {
    return this.#latin1(slot, this.columns.peerAt[slot] as number, 32)
  }

  session(slot: number): ByteKey {
    return this.#latin1(slot, this.columns.sessionAt[slot] as number, 16)
  }

  /** A copy of the signed record. */
  signed(slot: number): SignedRecord {
    const copy = new Uint8Array(this.bytes(slot))
    return {
      $typeName: SIGNED_RECORD,
      record: copy.subarray(SIGNATURE_BYTES),
      signature: copy.subarray(0, SIGNATURE_BYTES),
    }
  }

  /** A copy of the row as it travels. */
  row(slot: number): Row {
    const signed = this.signed(slot)
    const { topicAt, peerAt, sessionOrder } = readRecordFields(signed.record)
    const topic = signed.record.subarray(topicAt, topicAt + 32)
    const peerKey = signed.record.subarray(peerAt, peerAt + 32)
    // A literal: `create` takes several times as long, and a snapshot makes a million of them.
    return { $typeName: ROW, topic, peerKey, sessionOrder, gone: false, reason: 0, record: signed }
  }

  #write(table: RowTable, slot: number, signed: SignedRecord, fields: NewRow['fields']): void {
    const { slab, digest } = table
    const entry = slab.put(slot, signed.signature, signed.record)
    this.columns.entry[slot] = entry
    this.columns.peerAt[slot] = SIGNATURE_BYTES + fields.peerAt
    this.columns.sessionAt[slot] = SIGNATURE_BYTES + fields.sessionAt
    this.columns.order[slot] = fields.sessionOrder
    digest.add(rowHash(slab.view(entry)))
    const bytes = SIGNATURE_BYTES + signed.record.length
    if (bytes > table.largestRecordBytes) table.largestRecordBytes = bytes
  }

  /** The row's record goes: readers keep what it was, the digest and the slab let go of it. */
  #retire(table: RowTable, slot: number): void {
    const { slab, digest, views } = table
    const entry = this.columns.entry[slot] as number
    for (const view of views) view.keep(slot, () => this.row(slot))
    digest.remove(rowHash(slab.view(entry)))
    slab.free(entry)
  }

  /** Puts a row into the chain of its peer behind the first row, or starts the chain. */
  #link(slot: number, first: number, hash: number): void {
    const { next } = this.columns
    if (first === NONE) {
      next[slot] = NONE
      this.#index.add(hash, slot)
    } else {
      this.mark(slot, ROW_BEHIND)
      next[slot] = next[first] as number
      next[first] = slot
    }
  }

  #unlink(slot: number): void {
    const { next, topic } = this.columns
    const cell = this.#cell(topic[slot] as number, this.#peerBytes(slot))
    const following = next[slot] as number
    let before = this.#index.slot(cell)
    if (before === slot) {
      if (following === NONE) this.#index.remove(cell)
      else {
        this.#index.replace(cell, following)
        this.columns.flags[following] = (this.columns.flags[following] as number) & ~ROW_BEHIND
      }
      return
    }
    while (next[before] !== slot) before = next[before] as number
    next[before] = following
  }

  /** The cell of the index with the chain of a peer in a topic, or NONE. */
  #cell(topic: number, peer: Uint8Array, hash = this.#hash.of(peer, topic)): number {
    const { columns } = this
    for (let cell = this.#index.first(hash); cell !== NONE; cell = this.#index.next(cell, hash)) {
      const slot = this.#index.slot(cell)
      if (columns.topic[slot] !== topic) continue
      if (this.tableOf(slot).slab.has32(columns.entry[slot] as number, columns.peerAt[slot] as number, peer))
        return cell
    }
    return NONE
  }

  #peerBytes(slot: number): Uint8Array {
    const at = this.columns.peerAt[slot] as number
    return this.bytes(slot).subarray(at, at + 32)
  }

  #latin1(slot: number, at: number, length: number): ByteKey {
    return this.tableOf(slot).slab.latin1(this.columns.entry[slot] as number, at, length)
  }
}
