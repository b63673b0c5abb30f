import { equalBytes, type VerifiedRecord } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { Instant, TopicChange } from '../../../../directory/directory.ts'
import type { Home } from '../../home.ts'
import { NONE } from '../table/hash-index.ts'
import type { NewRow } from '../table/new-row.ts'
import type { Place } from '../table/place.ts'
import { ROW_BEHIND, ROW_VERIFIED, ROW_WITHHELD } from '../table/row-columns.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'
import type { SlotLists } from '../table/slot-lists.ts'
import type { Candidates } from './candidates.ts'
import type { Departures, Leave } from './departures.ts'

export interface VisibleSetOptions {
  readonly self: ByteKey
  readonly store: RowStore
  readonly candidates: Candidates
  readonly departures: Departures
  /** By topic number: the rows that are shown, one per peer. */
  readonly shown: SlotLists
  /** First revision: Unix time when the process started, so that revisions rise across restarts. */
  readonly startWallMs: number
  readonly now: () => Instant
  readonly watched: (topicKey: ByteKey) => boolean
  readonly changed: (change: TopicChange) => void
  readonly outranked: (topicKey: ByteKey, peer: ByteKey, home: Home) => void
}

/** Why a row goes, for those who hear that its peer left. */
export interface Going {
  readonly reason: DepartureReason
  readonly leave?: Leave | undefined
}

/** Revisions per millisecond of uptime that still cannot overtake those of the next process. */
const REVISIONS_PER_MS = 1024

/**
 * The union of all live tables: who is a member of what, wherever it joined.
 *
 *  1. Of a peer's rows in a topic one is shown (`Candidates` says which). `joined` is told when the first one is shown,
 *     `left` when the last one is not any more, `updated` when what is shown changes in between.
 *  2. Every change to a table passes through here, so that the union is right whenever a method returns.
 *  3. Revisions rise with every change that is shown, over all topics, and across restarts of the process.
 *  4. What is told was verified. Of a topic that nobody here watches nothing is told, and so nothing is verified.
 */
export class VisibleSet {
  readonly #options: VisibleSetOptions
  #revision: number

  constructor(options: VisibleSetOptions) {
    this.#options = options
    this.#revision = Math.trunc(options.startWallMs) * REVISIONS_PER_MS
  }

  get revision(): bigint {
    return BigInt(this.#revision)
  }

  /** Adds a row, or rewrites it. `withheld`: kept, because its table has it, and not shown. */
  put(table: RowTable, row: NewRow, place: Place, withheld = false): void {
    const { store, self } = this.#options
    const { first, slot } = place
    let at = slot
    if (slot === NONE) at = store.insert(table, row, place)
    else store.rewrite(slot, row)
    if (withheld) store.mark(at, ROW_WITHHELD)
    else if (table.origin === self) store.mark(at, ROW_VERIFIED)
    if (table.live) this.#settle(first === NONE ? at : first, at, LOST)
  }

  /** Takes a row out of its table. What its peer signed holds for all homes, also when this one's rows are not shown. */
  remove(slot: number, going: Going): void {
    const { store } = this.#options
    const table = store.tableOf(slot)
    if (table.live) {
      store.mark(slot, ROW_WITHHELD)
      this.#withholdFormer(slot, table)
    }
    if (going.leave !== undefined) this.#bury(slot, going.leave)
    if (table.live || going.leave !== undefined) this.#settle(store.firstOf(slot), slot, going)
    store.remove(slot)
  }

  /** A peer that goes takes along what is left of it in tables of former epochs. */
  #withholdFormer(slot: number, { origin }: RowTable): void {
    const { store } = this.#options
    for (let other = store.firstOf(slot); other !== NONE; other = store.nextHome(other)) {
      const table = store.tableOf(other)
      if (table.isFormer && table.origin === origin && store.order(other) <= store.order(slot)) {
        store.mark(other, ROW_WITHHELD)
      }
    }
  }

  /** The rows of a table count from now on. */
  show(table: RowTable): void {
    if (table.live) return
    table.live = true
    const { store } = this.#options
    // By topic number: 1 where nobody asks. A topic has several rows, and its key costs more than all else here.
    const unwatched = new Uint8Array(store.topics.numbers)
    for (const slot of store.slotsOf(table)) {
      if (!this.#showAlone(slot, unwatched)) this.#settle(store.firstOf(slot), NONE, LOST)
    }
  }

  /** The rows of a table count no more. */
  hide(table: RowTable, reason: DepartureReason): void {
    if (!table.live) return
    table.live = false
    const { store } = this.#options
    for (const slot of store.slotsOf(table)) {
      if (store.columns.shownAt[slot] !== NONE) this.#settle(store.firstOf(slot), NONE, { reason })
    }
  }

  /** A table is gone. */
  drop(table: RowTable, reason: DepartureReason): void {
    this.hide(table, reason)
    this.#options.store.dropTable(table)
  }

  /** `#settle` for what most rows of a new table are: the only one of a peer that nobody here asks about. False for the others. */
  #showAlone(slot: number, unwatched: Uint8Array): boolean {
    const { store, departures, watched, shown } = this.#options
    const { columns } = store
    if (departures.size > 0 || columns.next[slot] !== NONE || store.has(slot, ROW_BEHIND | ROW_WITHHELD)) return false
    // Whoever heard of a row before this one may have changed others, and had this one shown.
    if (columns.shownAt[slot] !== NONE) return false
    const topic = columns.topic[slot] as number
    if (unwatched[topic] === 0) {
      if (watched(store.topics.key(topic))) return false
      unwatched[topic] = 1
    }
    columns.shownAt[slot] = shown.push(topic, slot)
    this.#revision += 1
    return true
  }

  /** Shows of one peer in one topic what now counts; `touched` is the row that changed, if its table stayed the same. */
  #settle(first: number, touched: number, going: Going): void {
    const { store, candidates, watched, self } = this.#options
    const topic = store.columns.topic[first] as number
    const topicKey = store.topics.key(topic)
    const isOwn = touched !== NONE && store.tableOf(touched).origin === self
    const told = isOwn || watched(topicKey)
    const before = this.#shownOf(first)
    const best = candidates.best(first, told)
    if (best === NONE) {
      if (before !== NONE) this.#conceal(before, topicKey, told ? going : undefined)
    } else if (before === NONE) {
      this.#reveal(best, topicKey, told)
    } else if (best !== before || best === touched) {
      this.#exchange(before, best, topicKey, told)
    }
    if (told && best !== NONE) this.#compareSessions(first, best, topicKey)
  }

  #reveal(slot: number, topicKey: ByteKey, told: boolean): void {
    const { store, shown } = this.#options
    store.columns.shownAt[slot] = shown.push(store.columns.topic[slot] as number, slot)
    this.#revision += 1
    if (told) this.#tellRecord('joined', slot, topicKey)
  }

  #exchange(before: number, slot: number, topicKey: ByteKey, told: boolean): void {
    const { store, shown } = this.#options
    const { columns } = store
    if (before !== slot) {
      const at = columns.shownAt[before] as number
      columns.shownAt[before] = NONE
      columns.shownAt[slot] = at
      shown.set(columns.topic[slot] as number, at, slot)
      // The same record in a newer table of its home.
      if (equalBytes(store.bytes(before), store.bytes(slot))) return
    }
    this.#revision += 1
    if (told) this.#tellRecord('updated', slot, topicKey)
  }

  #conceal(slot: number, topicKey: ByteKey, going: Going | undefined): void {
    const { store, shown, departures, now } = this.#options
    const { shownAt, topic } = store.columns
    const at = shownAt[slot] as number
    shownAt[shown.remove(topic[slot] as number, at)] = at
    shownAt[slot] = NONE
    this.#revision += 1
    if (going === undefined) return
    departures.add(topicKey, store.peer(slot), now().monotonicMs, going.leave)
    this.#tellLeft(slot, topicKey, going)
  }

  /** A LEAVE from one home holds against all of them. */
  #bury(slot: number, leave: Leave): void {
    const { store, departures, now } = this.#options
    const topicKey = store.topics.key(store.columns.topic[slot] as number)
    departures.add(topicKey, store.peer(slot), now().monotonicMs, leave)
  }

  /** A peer that is joined here may have gone on to another server. */
  #compareSessions(first: number, best: number, topicKey: ByteKey): void {
    const { store, candidates, self, outranked } = this.#options
    if (store.tableOf(best).origin === self) return
    for (let slot = first; slot !== NONE; slot = store.nextHome(slot)) {
      if (store.tableOf(slot).origin !== self) continue
      const home = candidates.home(best)
      if (home.order > store.order(slot)) outranked(topicKey, store.peer(slot), home)
      return
    }
  }

  #tellRecord(kind: 'joined' | 'updated', slot: number, topicKey: ByteKey): void {
    const { candidates, changed } = this.#options
    const record: VerifiedRecord = candidates.record(slot)
    const { topic, peerKey } = record.record
    changed({ kind, topic, topicKey, peer: byteKey(peerKey), revision: this.revision, record })
  }

  #tellLeft(slot: number, topicKey: ByteKey, { reason, leave }: Going): void {
    const { store, candidates, changed } = this.#options
    const peer = store.peer(slot)
    const isSigned = leave !== undefined && candidates.isGenuineLeave(leave, topicKey, peer)
    const record: SignedRecord | undefined = isSigned ? leave.signed : undefined
    const [topic, peerKey, sessionId] = [topicKey, peer, store.session(slot)].map((key) => bytesOfKey(key)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    changed({ kind: 'left', topic, topicKey, peer, peerKey, sessionId, reason, record, revision: this.revision })
  }

  /** The row among those from `first` on that is shown, or NONE. */
  #shownOf(first: number): number {
    const { store } = this.#options
    let slot = first
    while (slot !== NONE && store.columns.shownAt[slot] === NONE) slot = store.nextHome(slot)
    return slot
  }
}

/** For rows that go with their table. */
const LOST: Going = { reason: DepartureReason.SERVER_LOST }
