import { fromBinary } from '@bufbuild/protobuf'
import { type Ed25519VerifySync, MeshError, type VerifiedRecord, verifyRecordSync } from '@mesh/core'
import { MembershipKind, MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { type ByteKey, bytesOfKey } from '../../../../byte-key.ts'
import { Home } from '../../home.ts'
import { NONE } from '../table/hash-index.ts'
import { ROW_VERIFIED, ROW_WITHHELD } from '../table/row-columns.ts'
import type { RowStore } from '../table/row-store.ts'
import { type Departures, type Leave, withholds } from './departures.ts'

export interface CandidatesOptions {
  readonly store: RowStore
  readonly departures: Departures
  readonly verify: Ed25519VerifySync
  readonly clockSkewMs: number
  /** A home passed a record on that its peer did not sign. */
  readonly onForged: (home: ByteKey, error: MeshError) => void
}

/**
 * Which of a peer's rows in a topic counts.
 *
 * A row is a candidate while its table is live, it is not withheld, and no LEAVE from another home forbids it. Of several
 * the one of the newest session counts, then the highest seq, then the higher home key, so that all servers choose alike.
 * Signatures are verified when it matters for the first time: once per row.
 */
export class Candidates {
  readonly #options: CandidatesOptions

  constructor(options: CandidatesOptions) {
    this.#options = options
  }

  /** The row that counts among those from `first` on, or NONE. `proven`: only one whose signature is good. */
  best(first: number, proven: boolean): number {
    const { store } = this.#options
    for (;;) {
      let best = NONE
      for (let slot = first; slot !== NONE; slot = store.nextHome(slot)) {
        if (this.#stands(slot) && (best === NONE || this.#outranks(slot, best))) best = slot
      }
      if (best === NONE || !proven || this.isGenuine(best)) return best
    }
  }

  /** Every home whose row is a candidate and genuine, newest session first. */
  homes(first: number): Home[] {
    const { store } = this.#options
    const slots: number[] = []
    for (let slot = first; slot !== NONE; slot = store.nextHome(slot)) {
      if (this.#stands(slot) && this.isGenuine(slot)) slots.push(slot)
    }
    if (slots.length > 1) slots.sort((a, b) => (this.#outranks(a, b) ? -1 : 1))
    return slots.map((slot) => this.home(slot))
  }

  home(slot: number): Home {
    const { store } = this.#options
    return new Home(store.tableOf(slot).origin, store.session(slot), store.order(slot))
  }

  /** Whether the row's peer signed it. One that it did not sign is withheld from then on. */
  isGenuine(slot: number): boolean {
    const { store, onForged } = this.#options
    if (store.has(slot, ROW_VERIFIED)) return true
    if (store.has(slot, ROW_WITHHELD)) return false
    const home = store.tableOf(slot).origin
    const topic = store.topics.bytes(store.columns.topic[slot] as number)
    const fault = this.#fault(store.signed(slot), MembershipKind.JOIN, topic, store.peer(slot), home)
    store.mark(slot, fault === undefined ? ROW_VERIFIED : ROW_WITHHELD)
    if (fault !== undefined) onForged(home, fault)
    return fault === undefined
  }

  /** Whether the peer signed the LEAVE. */
  isGenuineLeave(leave: Leave, topicKey: ByteKey, peer: ByteKey): boolean {
    if (leave.isGenuine !== undefined) return leave.isGenuine
    const fault = this.#fault(leave.signed, MembershipKind.LEAVE, bytesOfKey(topicKey), peer, leave.home)
    leave.isGenuine = fault === undefined
    if (fault !== undefined) {
      this.#options.departures.disown(topicKey, peer, leave)
      this.#options.onForged(leave.home, fault)
    }
    return leave.isGenuine
  }

  /** The record of a row that is genuine. */
  record(slot: number): VerifiedRecord {
    const { store, clockSkewMs } = this.#options
    const signed = store.signed(slot)
    const record = fromBinary(MembershipRecordSchema, signed.record)
    return { record, signed, expiresAtMs: Number(record.issuedAtMs) + record.ttlMs + clockSkewMs }
  }

  #stands(slot: number): boolean {
    const { store, departures } = this.#options
    if (!store.tableOf(slot).live || store.has(slot, ROW_WITHHELD)) return false
    if (departures.size === 0) return true
    const topicKey = store.topics.key(store.columns.topic[slot] as number)
    const peer = store.peer(slot)
    const leaves = departures.leaves(topicKey, peer)
    if (leaves.length === 0) return true
    const { seq, sessionOrder } = store.fields(slot)
    const { origin } = store.tableOf(slot)
    return !leaves.some(
      (leave) => withholds(leave, origin, seq, sessionOrder) && this.isGenuineLeave(leave, topicKey, peer),
    )
  }

  #outranks(slot: number, other: number): boolean {
    const { store } = this.#options
    const [order, otherOrder] = [store.order(slot), store.order(other)]
    if (order !== otherOrder) return order > otherOrder
    const [seq, otherSeq] = [store.fields(slot).seq, store.fields(other).seq]
    if (seq !== otherSeq) return seq > otherSeq
    return store.tableOf(slot).origin > store.tableOf(other).origin
  }

  #fault(
    signed: SignedRecord,
    kind: MembershipKind,
    topic: Uint8Array,
    peer: ByteKey,
    home: ByteKey,
  ): MeshError | undefined {
    const { verify } = this.#options
    const expected = { kind, topic, peerKey: bytesOfKey(peer), homeKey: bytesOfKey(home) }
    try {
      // The dates were judged when the row arrived, with the tolerance they need between servers.
      const nowMs = Number(fromBinary(MembershipRecordSchema, signed.record).issuedAtMs)
      verifyRecordSync(signed, { ...expected, nowMs, verify })
      return undefined
    } catch (error) {
      return MeshError.from(error)
    }
  }
}
