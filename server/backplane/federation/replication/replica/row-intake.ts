import { clone } from '@bufbuild/protobuf'
import { ErrorReason, equalBytes, type Limits, MeshError } from '@mesh/core'
import type { Row } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { MembershipKind, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { limitError } from '../../../../limits/server-limits.ts'
import { NONE } from '../table/hash-index.ts'
import type { Place } from '../table/place.ts'
import { checkRow, type RecordFields, type RowExpectations } from '../table/record-fields.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'
import type { VisibleSet } from '../visible/visible-set.ts'

export interface RowIntakeOptions {
  readonly store: RowStore
  readonly visible: VisibleSet
  readonly limits: Limits & { readonly federationMaxRows: number }
  readonly nowWallMs: () => number
}

/** Reasons an origin may give; another one would tell of it what only others can know. */
const REASONS_OF_ORIGIN: readonly number[] = [DepartureReason.LEFT, DepartureReason.EXPIRED, DepartureReason.TAKEN_OVER]

/** Takes the rows of another server into a table, each after the checks that need no signature. */
export class RowIntake {
  readonly #options: RowIntakeOptions

  constructor(options: RowIntakeOptions) {
    this.#options = options
  }

  /**
   * Applies a log entry. An older record than the one held is refused; another one with the same seq is equivocation, and
   * neither is shown until a higher seq comes.
   * @throws MeshError what `checkRow` throws, RECORD_STALE, LIMIT_EXCEEDED federation_max_rows
   */
  apply(table: RowTable, row: Row): void {
    if (row.gone) {
      this.#remove(table, row)
      return
    }
    const { store } = this.#options
    const fields = checkRow(row, this.#expectations(table, MembershipKind.JOIN))
    this.#set(table, row, fields, store.place(table, row.topic, row.peerKey))
  }

  /**
   * Adds rows of a snapshot.
   * @throws MeshError as `apply`, and INVALID_ARGUMENT for a row that is there twice
   */
  addAll(table: RowTable, rows: readonly Row[]): void {
    const { store } = this.#options
    const expected = this.#expectations(table, MembershipKind.JOIN)
    for (const row of rows) {
      const fields = checkRow(row, expected)
      const place = store.place(table, row.topic, row.peerKey)
      if (row.gone || place.slot !== NONE) {
        throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the snapshot has a row that is gone, or one twice')
      }
      this.#set(table, row, fields, place)
    }
  }

  #set(table: RowTable, row: Row, fields: RecordFields, place: Place): void {
    const { store, visible, limits } = this.#options
    const { slot } = place
    if (slot === NONE && table.rows >= limits.federationMaxRows) {
      throw limitError('federationMaxRows', limits.federationMaxRows, { value: table.rows + 1 })
    }
    // checkRow saw to it that there is a record.
    const next = { topic: row.topic, peerKey: row.peerKey, signed: row.record as NonNullable<Row['record']>, fields }
    if (slot === NONE) {
      visible.put(table, next, place)
      return
    }
    const heldSeq = store.fields(slot).seq
    if (fields.seq < heldSeq) {
      throw new MeshError(ErrorReason.RECORD_STALE, `the origin goes back to seq ${fields.seq} of a record`, {
        value: heldSeq,
      })
    }
    const held = store.bytes(slot)
    const isSameRecord = equalBytes(held.subarray(64), next.signed.record)
    if (isSameRecord && equalBytes(held.subarray(0, 64), next.signed.signature)) return
    visible.put(table, next, place, fields.seq === heldSeq && !isSameRecord)
  }

  #remove(table: RowTable, row: Row): void {
    const { store, visible } = this.#options
    const { topic, peerKey, record: signed } = row
    const fields = signed && checkRow(row, this.#expectations(table, MembershipKind.LEAVE))
    const slot = topic.length === 32 && peerKey.length === 32 ? store.find(table, topic, peerKey) : NONE
    if (slot === NONE) return
    const reason = REASONS_OF_ORIGIN.includes(row.reason) ? row.reason : DepartureReason.EXPIRED
    const { origin: home } = table
    const leave = signed &&
      fields && {
        home,
        // A copy: the row is part of a whole frame, which must not be kept with it.
        signed: clone(SignedRecordSchema, signed),
        seq: fields.seq,
        sessionOrder: fields.sessionOrder,
        isGenuine: undefined,
      }
    visible.remove(slot, { reason: reason as DepartureReason, leave })
  }

  /** What all rows of a table must be now. */
  #expectations({ originKey: homeKey }: RowTable, kind: MembershipKind): RowExpectations {
    return { kind, homeKey, nowWallMs: this.#options.nowWallMs() }
  }
}
