import { ErrorReason, MeshError, type Random, type VerifiedRecord } from '@mesh/core'
import { type ByteKey, byteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { MemberPage } from '../../../../directory/directory.ts'
import { randomIndexes } from '../../../../directory/random-indexes.ts'
import type { MembersView } from '../../../backplane.ts'
import type { Home } from '../../home.ts'
import { NONE } from '../table/hash-index.ts'
import type { RowStore } from '../table/row-store.ts'
import type { SlotLists } from '../table/slot-lists.ts'
import type { Candidates } from './candidates.ts'
import { type Departures, withholds } from './departures.ts'

export interface MembersOptions {
  readonly self: ByteKey
  readonly store: RowStore
  readonly candidates: Candidates
  readonly departures: Departures
  readonly shown: SlotLists
  readonly random: Random
}

/** The visible set as it is read. Whatever is served was verified, now if not before; what fails is not served. */
export class Members implements MembersView {
  readonly #options: MembersOptions

  constructor(options: MembersOptions) {
    this.#options = options
  }

  get(topicKey: ByteKey, peer: ByteKey): VerifiedRecord | undefined {
    const slot = this.#served(topicKey, peer)
    return slot === NONE ? undefined : this.#options.candidates.record(slot)
  }

  sessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined {
    const slot = this.#served(topicKey, peer)
    return slot === NONE ? undefined : this.#options.store.session(slot)
  }

  departedAtMs(topicKey: ByteKey, peer: ByteKey): number | undefined {
    const atMs = this.#options.departures.atMs(topicKey, peer)
    return atMs === undefined || this.#served(topicKey, peer) !== NONE ? undefined : atMs
  }

  memberCount(topicKey: ByteKey): number {
    return this.#options.shown.count(this.#topic(topicKey))
  }

  sample(topicKey: ByteKey, count: number, except: ByteKey): VerifiedRecord[] {
    const { shown, store, random } = this.#options
    const topic = this.#topic(topicKey)
    const chosen: VerifiedRecord[] = []
    if (count === 0) return chosen
    for (const index of randomIndexes(random, shown.count(topic))) {
      const slot = shown.at(topic, index)
      const record = store.peer(slot) === except ? undefined : this.#recordOf(slot)
      if (record !== undefined) chosen.push(record)
      if (chosen.length >= count) break
    }
    return chosen
  }

  page(topicKey: ByteKey, offset: number, count: number): MemberPage {
    const { shown } = this.#options
    const topic = this.#topic(topicKey)
    const records: VerifiedRecord[] = []
    const end = Math.min(offset + count, shown.count(topic))
    for (let index = offset; index < end; index++) {
      const record = this.#recordOf(shown.at(topic, index))
      if (record !== undefined) records.push(record)
    }
    return { records, nextOffset: end < shown.count(topic) ? end : undefined }
  }

  homesOf(topicKey: ByteKey, peer: ByteKey): Home[] {
    return this.#options.candidates.homes(this.#first(topicKey, peer))
  }

  /** RECORD_STALE when a LEAVE that another home of the peer passed on forbids this record of an own peer. */
  refusalOf({ record }: VerifiedRecord): MeshError | undefined {
    const { departures, candidates, self } = this.#options
    const [topicKey, peer] = [byteKey(record.topic), byteKey(record.peerKey)]
    // Those of newer sessions have lower seqs: the last one says how high a record has to be.
    const leave = departures.leaves(topicKey, peer).findLast((known) => {
      return withholds(known, self, record.seq, record.sessionOrder) && candidates.isGenuineLeave(known, topicKey, peer)
    })
    if (leave === undefined) return undefined
    const what = `a LEAVE with seq ${leave.seq} is known from another server; sign a higher seq`
    return new MeshError(ErrorReason.RECORD_STALE, what, { value: leave.seq })
  }

  #recordOf(shownSlot: number): VerifiedRecord | undefined {
    const { store, candidates } = this.#options
    const slot = candidates.isGenuine(shownSlot) ? shownSlot : candidates.best(store.firstOf(shownSlot), true)
    return slot === NONE ? undefined : candidates.record(slot)
  }

  #served(topicKey: ByteKey, peer: ByteKey): number {
    return this.#options.candidates.best(this.#first(topicKey, peer), true)
  }

  #first(topicKey: ByteKey, peer: ByteKey): number {
    return this.#options.store.firstHomeOf(topicKey, peer)
  }

  #topic(topicKey: ByteKey): number {
    return topicKey.length === 32 ? this.#options.store.topics.find(bytesOfKey(topicKey)) : NONE
  }
}
