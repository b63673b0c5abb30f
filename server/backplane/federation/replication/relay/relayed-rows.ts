import { clone, fromBinary } from '@bufbuild/protobuf'
import { type Ed25519VerifySync, ErrorReason, equalBytes, MeshError, verifyStatementSync } from '@mesh/core'
import {
  type OriginState,
  OriginStateSchema,
  type Row,
  RowSchema,
  type Rows,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { byteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { ServerLimits } from '../../../../limits/server-limits.ts'
import type { Replica, TablePosition } from '../replica/replica.ts'
import type { RowIntake } from '../replica/row-intake.ts'
import { SnapshotIntake } from '../replica/snapshot-intake.ts'
import { NONE } from '../table/hash-index.ts'
import { rowHash } from '../table/row-digest.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'

export interface RelayedRowsOptions {
  readonly replica: Replica
  readonly store: RowStore
  readonly rows: RowIntake
  readonly limits: ServerLimits
  readonly verify: Ed25519VerifySync
}

/** Tables in a row that may differ from what the origin signed before the one that passes them on is to blame. */
const MAX_MISMATCHES = 2

/**
 * What a third server passes on of an origin: nobody sees it until the origin's own signature vouches for it.
 *
 *  1. Rows gather here: a snapshot in a table of its own, entries of the log in a list.
 *  2. A state counts when the origin signed it and it was not seen before.
 *  3. When the rows reach the seq of such a state and its digest is theirs, they go to the replica, in the order in which the
 *     origin wrote them, and the state after them. Otherwise they go nowhere, and a snapshot is wanted.
 */
export class RelayedRows {
  readonly #options: RelayedRowsOptions
  #intake: SnapshotIntake | undefined
  #intakeEpoch = 0n
  /** A complete snapshot that no state vouched for yet; without one, the replica's own table is what entries follow. */
  #snapshot: TablePosition | undefined
  #entries: Row[] = []
  /** The oldest state that the rows did not reach yet, and the newest: a snapshot may have passed the one and end at the other. */
  #states: readonly OriginState[] = []
  #needsSnapshot = false
  /** The replica's own table, when it did not fit a state: rows were lost before any came through others. */
  #distrusted: RowTable | undefined
  #mismatches = 0

  constructor(options: RelayedRowsOptions) {
    this.#options = options
  }

  /** What follows is wanted: seq 0 when that is everything. */
  get position(): { epoch: bigint; seq: bigint } {
    const base = this.#base
    if (base === undefined || this.#isAtLoss) return { epoch: this.#options.replica.position.epoch, seq: 0n }
    return { epoch: base.epoch, seq: base.seq + BigInt(this.#entries.length) }
  }

  /**
   * A state that was passed on. Only its signed form counts. `gap`: it is news, and says that what is here leads to nothing.
   * @throws MeshError SIGNATURE_INVALID, ORIGIN_FORGED, and what `receiveRows` throws
   */
  receiveState({ signed }: OriginState): 'news' | 'known' | 'gap' {
    const { replica, verify } = this.#options
    const origin = bytesOfKey(replica.origin)
    if (signed === undefined)
      throw new MeshError(ErrorReason.SIGNATURE_INVALID, 'a state is passed on without signature')
    verifyStatementSync(origin, 'origin-state', signed.statement, signed.signature, verify)
    const state = fromBinary(OriginStateSchema, signed.statement)
    if (!equalBytes(state.origin, origin))
      throw new MeshError(ErrorReason.ORIGIN_FORGED, 'the state is of another origin')
    if (!replica.isNews(state)) return 'known'
    this.#expect(state)
    this.#confirm()
    return this.#wantsPull ? 'gap' : 'news'
  }

  /**
   * Rows that were passed on, and what they are: `news`, which lead further than what is here; `known`, from somebody who
   * has no more; or past a `gap`, so that a Pull is needed.
   * @throws MeshError INVALID_ARGUMENT, DIGEST_MISMATCH, LIMIT_EXCEEDED federation_max_rows, and what `checkRow` throws
   */
  receiveRows(rows: Rows): 'news' | 'known' | 'gap' {
    const { epoch, seq } = this.position
    const isNext = rows.snapshot === undefined ? this.#addEntries(rows) : this.#addPage(rows, rows.snapshot)
    if (isNext) this.#confirm()
    if (!isNext || this.#wantsPull) return 'gap'
    return rows.epoch > epoch || rows.toSeq > seq ? 'news' : 'known'
  }

  /** Forgets what nobody vouched for: the origin can be heard itself, or through another server. */
  clear(): void {
    this.#dropIntake()
    if (this.#snapshot !== undefined) this.#options.store.dropTable(this.#snapshot.table)
    this.#snapshot = undefined
    this.#entries = []
    this.#states = []
    this.#needsSnapshot = false
  }

  get #base(): TablePosition | undefined {
    return this.#snapshot ?? this.#options.replica.base
  }

  /** Whether only a snapshot can help. */
  get #isAtLoss(): boolean {
    return this.#needsSnapshot || this.#base?.table === this.#distrusted
  }

  /** Whether that snapshot is not on its way. */
  get #wantsPull(): boolean {
    return this.#isAtLoss && this.#intake === undefined
  }

  #addEntries({ epoch, fromSeq, toSeq, rows }: Rows): boolean {
    const { limits } = this.#options
    this.#dropIntake()
    const { seq: end } = this.position
    if (rows.length === 0 || toSeq !== fromSeq + BigInt(rows.length - 1)) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        `${rows.length} rows are not the entries ${fromSeq} to ${toSeq}`,
      )
    }
    if (this.#base?.epoch !== epoch || this.#isAtLoss || fromSeq > end + 1n) return false
    // Copies: an entry must not keep the whole frame that it came in.
    for (const row of rows.slice(Number(end + 1n - fromSeq))) this.#entries.push(clone(RowSchema, row))
    if (this.#entries.length <= limits.federationLogRows + limits.federationPageRows) return true
    this.#entries = []
    return false
  }

  #addPage(rows: Rows, page: NonNullable<Rows['snapshot']>): boolean {
    const { store, limits, replica } = this.#options
    if (this.#intake?.id !== page.snapshotId) {
      if (page.page > 0 || rows.epoch < replica.position.epoch) return true
      this.#dropIntake()
      this.#intakeEpoch = rows.epoch
      this.#intake = new SnapshotIntake(rows, page, limits.federationMaxRows, () => store.createTable(replica.origin))
    }
    const intake = this.#intake as SnapshotIntake
    const verdict = intake.account(rows, page)
    if (verdict === 'missing') this.#dropIntake()
    if (verdict !== 'next') return verdict === 'repeated'
    this.#options.rows.addAll(intake.table, rows.rows)
    if (!intake.isComplete) return true
    this.#intake = undefined
    if (this.#snapshot !== undefined) store.dropTable(this.#snapshot.table)
    this.#snapshot = { epoch: this.#intakeEpoch, seq: intake.seq, table: intake.table }
    this.#entries = []
    this.#needsSnapshot = false
    return true
  }

  #expect(state: OriginState): void {
    const [oldest] = this.#states
    if (oldest === undefined || oldest.epoch < state.epoch) this.#states = [state]
    else if (oldest.epoch === state.epoch && oldest.beat < state.beat) this.#states = [oldest, state]
  }

  /** Hands over what signed states vouch for. */
  #confirm(): void {
    for (let state = this.#states[0]; state !== undefined && this.#isSettled(state); state = this.#states[0]) {
      this.#states = this.#states.slice(1)
    }
  }

  /** Hands over what one state vouches for, once that is here. Whether nothing more is to be done about it. */
  #isSettled(state: OriginState): boolean {
    const { replica } = this.#options
    const base = this.#base
    if (base === undefined || this.#intake !== undefined) return false
    if (state.epoch > base.epoch) this.#needsSnapshot = true
    if (state.epoch !== base.epoch || state.headSeq < base.seq) return state.epoch <= base.epoch
    const count = Number(state.headSeq - base.seq)
    if (count > this.#entries.length || base.table === this.#distrusted) return false
    const entries = this.#entries.slice(0, count)
    if (!this.#isVouchedFor(state, base, entries)) {
      this.#reject(base)
      return true
    }
    this.#mismatches = 0
    this.#entries = this.#entries.slice(count)
    if (this.#snapshot !== undefined) replica.adopt(this.#snapshot)
    this.#snapshot = undefined
    replica.adoptEntries(entries)
    replica.receiveState(state)
    return true
  }

  /** Whose fault it is shows with a snapshot: what comes on top of the own table is right or wrong with that. */
  #reject({ table }: TablePosition): void {
    const isOwnTable = this.#snapshot === undefined
    this.clear()
    this.#needsSnapshot = true
    if (isOwnTable) this.#distrusted = table
    else this.#mismatches += 1
    if (this.#mismatches <= MAX_MISMATCHES) return
    throw new MeshError(ErrorReason.DIGEST_MISMATCH, 'the rows that are passed on are not those the origin signed for')
  }

  /** Whether the table has the digest of the state after the entries; nothing is changed. */
  #isVouchedFor(state: OriginState, { table }: TablePosition, entries: readonly Row[]): boolean {
    const { store } = this.#options
    const digest = table.digest.copy()
    let count = table.rows
    /** What the entries left of each row. */
    const changed = new Map<string, string | undefined>()
    for (const { topic, peerKey, gone, record } of entries) {
      const name = byteKey(topic) + byteKey(peerKey)
      const slot = changed.has(name) ? NONE : store.find(table, topic, peerKey)
      const before = slot === NONE ? changed.get(name) : rowHash(store.bytes(slot))
      const after = gone || record === undefined ? undefined : rowHash(Buffer.concat([record.signature, record.record]))
      if (before !== undefined) digest.remove(before)
      if (after !== undefined) digest.add(after)
      count += Number(after !== undefined) - Number(before !== undefined)
      changed.set(name, after)
    }
    return state.rowCount === BigInt(count) && equalBytes(state.digest, digest.bytes())
  }

  #dropIntake(): void {
    if (this.#intake !== undefined) this.#options.store.dropTable(this.#intake.table)
    this.#intake = undefined
  }
}
