import { create, toBinary } from '@bufbuild/protobuf'
import type { Random } from '@mesh/core'
import {
  type OriginState,
  OriginStateSchema,
  type Row,
  RowSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { byteKey, bytesOfKey } from '../../../byte-key.ts'
import type { TopicChange } from '../../../directory/directory.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Feed } from './log/cursor.ts'
import { OriginLog } from './log/origin-log.ts'
import { epochAbove, firstEpoch } from './log/own-epoch.ts'
import { NONE } from './table/hash-index.ts'
import { readRecordFields } from './table/record-fields.ts'
import type { RowStore } from './table/row-store.ts'
import type { RowTable } from './table/row-table.ts'
import type { TableView } from './table/table-view.ts'
import type { VisibleSet } from './visible/visible-set.ts'

export interface OwnOriginOptions {
  readonly self: Uint8Array
  readonly store: RowStore
  readonly visible: VisibleSet
  readonly limits: ServerLimits
  readonly random: Random
  readonly startWallMs: number
  /** Whether another server is being brought up to date: the log is kept longer then. */
  readonly isAwaited: () => boolean
}

/**
 * This server as an origin: the table of its own peers, and the log that made it. Only changes of its own directory are
 * entries of the log, each of them one, in their order.
 */
export class OwnOrigin implements Feed {
  readonly #options: OwnOriginOptions
  readonly #table: RowTable
  #log = new OriginLog(0n)
  #epoch: bigint
  #beat = 0n

  constructor(options: OwnOriginOptions) {
    this.#options = options
    const { store, visible, random, startWallMs, self } = options
    this.#epoch = firstEpoch(startWallMs, random)
    this.#table = store.createTable(byteKey(self))
    visible.show(this.#table)
  }

  get origin(): Uint8Array {
    return this.#options.self
  }

  get epoch(): bigint {
    return this.#epoch
  }

  get log(): OriginLog {
    return this.#log
  }

  get rows(): number {
    return this.#table.rows
  }

  get digest(): Uint8Array {
    return this.#table.digest.bytes()
  }

  view(): TableView {
    return this.#options.store.view(this.#table)
  }

  /** Takes a change of the own directory into the table, the visible set and the log. */
  change(change: TopicChange): void {
    const { store, visible } = this.#options
    const peerKey = bytesOfKey(change.peer)
    const place = store.place(this.#table, change.topic, peerKey)
    const { slot } = place
    if (change.kind !== 'left') {
      const { signed } = change.record
      const fields = readRecordFields(signed.record)
      this.#append({ topic: change.topic, peerKey, sessionOrder: fields.sessionOrder, record: signed })
      visible.put(this.#table, { topic: change.topic, peerKey, signed, fields }, place)
      return
    }
    // Of a peer that had no row nobody has to hear that it left.
    if (slot !== NONE) this.#remove(slot, change.topic, peerKey, change.reason, change.record)
  }

  /** The state of the origin now; each one is a beat. */
  state(leaseMs: number): OriginState {
    this.#beat += 1n
    return create(OriginStateSchema, {
      origin: this.origin,
      epoch: this.#epoch,
      headSeq: this.#log.head,
      rowCount: BigInt(this.rows),
      digest: this.digest,
      leaseMs,
      beat: this.#beat,
    })
  }

  /** `state`, as it is signed. */
  stateBytes(leaseMs: number): Uint8Array {
    return toBinary(OriginStateSchema, this.state(leaseMs))
  }

  /** Goes on in an epoch above `past`, with the same table and an empty log. */
  startEpochAbove(past: bigint): void {
    this.#epoch = epochAbove(past, this.#options.random)
    this.#log = new OriginLog(this.#log.head)
    this.#beat = 0n
  }

  #remove(
    slot: number,
    topic: Uint8Array,
    peerKey: Uint8Array,
    reason: DepartureReason,
    signed: SignedRecord | undefined,
  ): void {
    const { store, visible } = this.#options
    const { seq, sessionOrder } = signed === undefined ? store.fields(slot) : readRecordFields(signed.record)
    const home = this.#table.origin
    const leave = signed && { home, signed, seq, sessionOrder, isGenuine: true }
    this.#append({ topic, peerKey, sessionOrder, gone: true, reason, ...(signed && { record: signed }) })
    visible.remove(slot, { reason, leave })
  }

  /** While somebody is being brought up to date, as many entries as there are rows: then a snapshot is no shorter. */
  #append(row: Partial<Omit<Row, '$typeName'>>): void {
    const { limits, isAwaited } = this.#options
    const usual = limits.federationLogRows
    this.#log.append(create(RowSchema, row), isAwaited() ? Math.max(usual, this.rows) : usual)
  }
}
