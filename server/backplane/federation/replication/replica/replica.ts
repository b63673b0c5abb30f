import { ErrorReason, equalBytes, MeshError, TokenBucket } from '@mesh/core'
import type { OriginState, Rows } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, bytesOfKey } from '../../../../byte-key.ts'
import { limitError, type ServerLimits } from '../../../../limits/server-limits.ts'
import type { OriginStatus } from '../../../../ops/federation-status.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'
import type { VisibleSet } from '../visible/visible-set.ts'
import type { RowIntake } from './row-intake.ts'
import { SnapshotIntake } from './snapshot-intake.ts'

export interface ReplicaOptions {
  readonly origin: ByteKey
  readonly store: RowStore
  readonly visible: VisibleSet
  readonly rows: RowIntake
  readonly limits: ServerLimits
  readonly nowMs: () => number
  /** Asks for what comes after a position; seq 0 asks for a snapshot. */
  readonly pull: (epoch: bigint, seq: bigint) => void
}

/** What of the origin's rows there is, and when that changes by itself (monotonic ms). */
type Stage =
  /** No rows: none came yet, or they were dropped. Epoch and seq are remembered, so that they cannot go back. */
  | { readonly kind: 'empty'; readonly forgetAtMs: number }
  /** The rows are shown, until the lease ends. */
  | { readonly kind: 'live' }
  /** The lease ended. The rows wait for the origin, which must be caught up with before they are shown again. */
  | { readonly kind: 'hidden'; readonly dropAtMs: number; readonly needsSeq: bigint | undefined }

/** The table of an epoch that the origin left behind: shown until the lease that it had ends. */
interface FormerTable {
  readonly table: RowTable
  untilMs: number
}

/** Epochs that an origin may go through at once, and one more for every lease. It has one per start. */
const EPOCHS_AT_ONCE = 8
/** Tables of former epochs that are shown at once; the oldest gives way. */
const MAX_FORMER_TABLES = 2
/** Times in a row that a table may differ from its origin's digest, each answered with a new snapshot. */
const MAX_MISMATCHES = 3
/** Snapshots that may be under way at once: that many times something got lost on the way to the first. */
const MAX_AWAITED_SNAPSHOTS = 4

/**
 * What this server holds of one other server's log.
 *
 *  - Entries are applied in order and once. A gap, or a table whose digest is not the origin's, is answered with a Pull.
 *  - (epoch, seq) never goes back: it outlives the rows. Of a former epoch only the lease that was running is left.
 *  - A state keeps the rows alive for its lease, if it was not seen before, and if the rows moved on since the last state
 *    or had nothing to catch up with. So rows that a state does not speak for end with their lease.
 *  - When the stream with the origin breaks nothing happens here.
 *
 * Methods throw what the origin did wrong; what was applied before that stays.
 */
export class Replica {
  readonly #options: ReplicaOptions
  readonly #epochs: TokenBucket
  #stage: Stage
  #table: RowTable | undefined
  #formers: FormerTable[] = []
  #intake: SnapshotIntake | undefined
  #epoch = 0n
  #seq = 0n
  /** Newest entry that is known to exist, and newest one that a state told of. */
  #head = 0n
  #toldHead = 0n
  /** Beat of the newest state of the epoch; -1 before the first. */
  #beat = -1n
  /** The oldest state whose seq was not reached yet: its digest is compared then. */
  #expected: OriginState | undefined
  #mismatches = 0
  #needsSnapshot = false
  /** Snapshots that may come: what was asked for, by Hello or Pull, and not answered by one yet. */
  #awaitedSnapshots = 0
  #lastSnapshotId: bigint | undefined
  /** Whether rows came since the last state. */
  #hasMoved = true
  #lastStateMs: number
  #leaseEndsMs = Number.NEGATIVE_INFINITY
  /** Whether the lease was prolonged, for a pause of this process, since the last state. */
  #hasGrace = false
  #pulledAtMs = Number.NEGATIVE_INFINITY
  #staleSinceMs: number | undefined
  #condemned: MeshError | undefined

  constructor(options: ReplicaOptions) {
    const { limits, nowMs } = options
    this.#options = options
    const perSecond = 1_000 / limits.federationLeaseMs
    this.#epochs = new TokenBucket({ perSecond, burst: EPOCHS_AT_ONCE, clock: { monotonicMs: nowMs } })
    this.#lastStateMs = nowMs()
    this.#stage = this.#empty()
  }

  get origin(): ByteKey {
    return this.#options.origin
  }

  /** What follows is wanted: seq 0 when that is everything. */
  get position(): { epoch: bigint; seq: bigint } {
    return { epoch: this.#epoch, seq: this.#table === undefined || this.#needsSnapshot ? 0n : this.#seq }
  }

  get stage(): Stage['kind'] {
    return this.#stage.kind
  }

  /** Undefined when no rows are held. */
  get status(): OriginStatus | undefined {
    if (this.#table === undefined || this.#stage.kind === 'empty') return undefined
    return {
      key: bytesOfKey(this.origin),
      epoch: this.#epoch,
      seq: this.#seq,
      head: this.#head,
      rows: this.#table.rows,
      digest: this.#table.digest.bytes(),
      state: this.#stage.kind,
      msSinceState: this.#options.nowMs() - this.#lastStateMs,
    }
  }

  /** When `tick` has something to do. */
  get dueMs(): number {
    const formersMs = this.#formers.map(({ untilMs }) => untilMs)
    return Math.min(this.#stageEndsMs(), ...formersMs)
  }

  /** A stream with the origin is open: it sends what follows the position it was told, as a log or a snapshot. */
  connected(): void {
    this.#awaitedSnapshots = 1
    this.#lastSnapshotId = undefined
    this.#hasMoved = true
    this.#staleSinceMs = undefined
    this.#pulledAtMs = this.#options.nowMs()
  }

  /** The stream ended. Whether the origin is alive is decided by its lease, not here. */
  disconnected(): void {
    this.#dropIntake()
    this.#awaitedSnapshots = 0
  }

  /**
   * The origin said how it stands.
   * @throws MeshError INVALID_ARGUMENT, LIMIT_EXCEEDED (federation_max_lease_ms, federation_max_rows), EPOCH_STALE, LOG_GAP,
   * DIGEST_MISMATCH, and the reason for which its rows are withheld
   */
  receiveState(state: OriginState): void {
    checkState(state, this.#options.limits)
    if (!this.#acceptsEpoch(state.epoch)) return
    if (state.beat <= this.#beat) return
    if (state.headSeq < this.#toldHead) throw backwards('the origin took back entries of its log')
    const isStalled = this.#isBehind && !this.#hasMoved
    this.#beat = state.beat
    this.#toldHead = state.headSeq
    this.#head = larger(this.#head, state.headSeq)
    this.#hasMoved = false
    this.#expected ??= state
    this.#compareDigest()
    this.#noteLife(state, isStalled || this.#mismatches > 0)
    if (isStalled && this.#isBehind) this.#pull()
    this.#settle()
  }

  /**
   * Takes entries of the log, or a page of a snapshot.
   * @throws MeshError INVALID_ARGUMENT, EPOCH_STALE, LOG_GAP, LIMIT_EXCEEDED federation_max_rows, DIGEST_MISMATCH, the reason
   * for which a row is refused, and the one for which the origin's rows are withheld
   */
  receiveRows(rows: Rows): void {
    if (!this.#acceptsEpoch(rows.epoch)) return
    if (rows.snapshot === undefined) this.#receiveEntries(rows)
    else this.#receivePage(rows, rows.snapshot)
    this.#settle()
  }

  /** This process was paused: the origin gets some time to be heard before it is judged, once until it was. */
  grantGrace(graceMs: number): void {
    if (this.#hasGrace) return
    this.#hasGrace = true
    const untilMs = this.#options.nowMs() + graceMs
    this.#leaseEndsMs = Math.max(this.#leaseEndsMs, untilMs)
    for (const former of this.#formers) former.untilMs = Math.max(former.untilMs, untilMs)
  }

  /** Does what is due. Returns false when the origin can be forgotten. */
  tick(): boolean {
    const nowMs = this.#options.nowMs()
    for (const former of this.#formers.filter(({ untilMs }) => untilMs <= nowMs)) this.#dropFormer(former)
    if (this.#stageEndsMs() > nowMs) return true
    switch (this.#stage.kind) {
      case 'live':
        this.#hide()
        return true
      case 'hidden':
        this.#clear()
        return true
      case 'empty':
        return false
    }
  }

  /** The origin passed on what its peers did not sign: nothing of this epoch is shown any more. */
  condemn(error: MeshError): void {
    this.#condemned = error
    this.#clear()
    for (const former of [...this.#formers]) this.#dropFormer(former)
  }

  /** Everything goes, the position too. */
  forget(): void {
    this.#clear()
    for (const former of [...this.#formers]) this.#dropFormer(former)
  }

  /** A state came; it prolongs the lease of rows that it speaks for. */
  #noteLife({ leaseMs, headSeq }: OriginState, isOutOfDate: boolean): void {
    const nowMs = this.#options.nowMs()
    this.#lastStateMs = nowMs
    if (!isOutOfDate) {
      this.#leaseEndsMs = nowMs + leaseMs
      this.#hasGrace = false
    }
    if (this.#stage.kind === 'empty') this.#stage = this.#empty()
    if (this.#stage.kind === 'hidden' && this.#stage.needsSeq === undefined) {
      this.#stage = { ...this.#stage, needsSeq: headSeq }
    }
  }

  get #isBehind(): boolean {
    return this.#table === undefined || this.#seq < this.#head
  }

  #stageEndsMs(): number {
    switch (this.#stage.kind) {
      case 'live':
        return this.#leaseEndsMs
      case 'hidden':
        return this.#stage.dropAtMs
      case 'empty':
        return this.#stage.forgetAtMs
    }
  }

  #empty(): Stage {
    const { federationHiddenMs, federationEpochMemoryMs } = this.#options.limits
    return { kind: 'empty', forgetAtMs: this.#lastStateMs + federationHiddenMs + federationEpochMemoryMs }
  }

  /** Whether something of this epoch is to be taken; enters a newer one. */
  #acceptsEpoch(epoch: bigint): boolean {
    if (epoch < this.#epoch) {
      this.#refuseStale()
      return false
    }
    if (epoch > this.#epoch) this.#enter(epoch)
    if (this.#condemned !== undefined) throw this.#condemned
    return true
  }

  /** The origin does not know how far it was, after a restart with its clock set back: a Pull tells it. */
  #refuseStale(): void {
    const { nowMs, limits, pull } = this.#options
    if (this.#staleSinceMs === undefined) {
      this.#staleSinceMs = nowMs()
      pull(this.#epoch, 0n)
    } else if (nowMs() - this.#staleSinceMs > 2 * limits.federationStateMs) {
      throw new MeshError(ErrorReason.EPOCH_STALE, `the origin was in epoch ${this.#epoch} before`, {
        value: this.#epoch,
      })
    }
  }

  #enter(epoch: bigint): void {
    const { visible } = this.#options
    if (!this.#epochs.take()) throw new MeshError(ErrorReason.EPOCH_STALE, 'the origin changes its epoch too often')
    this.#dropIntake()
    this.#lastSnapshotId = undefined
    const table = this.#table
    if (table !== undefined && this.#stage.kind === 'live') {
      if (this.#formers.length === MAX_FORMER_TABLES) this.#dropFormer(this.#formers[0] as FormerTable)
      this.#formers.push({ table, untilMs: this.#leaseEndsMs })
    } else if (table !== undefined) {
      visible.drop(table, DepartureReason.SERVER_LOST)
    }
    this.#table = undefined
    this.#stage = this.#empty()
    this.#epoch = epoch
    this.#seq = 0n
    this.#head = 0n
    this.#toldHead = 0n
    this.#beat = -1n
    this.#expected = undefined
    this.#mismatches = 0
    this.#condemned = undefined
    this.#staleSinceMs = undefined
    this.#needsSnapshot = false
    // Not right after Hello, which asked already.
    this.#pull()
  }

  #receiveEntries({ fromSeq, toSeq, rows }: Rows): void {
    if (fromSeq < 1n || rows.length === 0 || toSeq !== fromSeq + BigInt(rows.length - 1)) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        `${rows.length} rows are not the entries ${fromSeq} to ${toSeq}`,
      )
    }
    // The log goes on only after a snapshot: the sender gave it up, or a page was lost.
    this.#dropIntake()
    this.#head = larger(this.#head, toSeq)
    const table = this.#table
    if (table === undefined || fromSeq > this.#seq + 1n) {
      this.#pull()
      return
    }
    for (let i = Number(this.#seq + 1n - fromSeq); i < rows.length; i++) {
      this.#options.rows.apply(table, rows[i] as Rows['rows'][number])
      this.#seq += 1n
      this.#hasMoved = true
      this.#compareDigest()
    }
  }

  #receivePage(rows: Rows, page: NonNullable<Rows['snapshot']>): void {
    const { store, limits } = this.#options
    if (page.snapshotId === this.#lastSnapshotId && this.#intake === undefined) return
    if (this.#intake?.id !== page.snapshotId) {
      // The rest of a snapshot that was given up, because a page of it was lost.
      if (page.page > 0) return
      if (this.#awaitedSnapshots === 0) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'nobody asked for a snapshot')
      if (rows.toSeq < this.#seq) throw backwards(`the snapshot is of seq ${rows.toSeq}, and ${this.#seq} was reached`)
      this.#dropIntake()
      this.#awaitedSnapshots -= 1
      this.#intake = new SnapshotIntake(rows, page, limits.federationMaxRows, () => store.createTable(this.origin))
    }
    const intake = this.#intake as SnapshotIntake
    const verdict = intake.account(rows, page)
    if (verdict === 'repeated') return
    if (verdict === 'missing') {
      this.#dropIntake()
      this.#pull()
      return
    }
    for (const row of rows.rows) this.#options.rows.add(intake.table, row)
    this.#hasMoved = true
    if (intake.isComplete) this.#swap(intake)
  }

  /** The snapshot replaces the table: first its rows are there, then the old ones are not, so that nobody seems to leave. */
  #swap(intake: SnapshotIntake): void {
    const { visible, nowMs } = this.#options
    const old = this.#table
    this.#intake = undefined
    this.#lastSnapshotId = intake.id
    this.#needsSnapshot = false
    this.#table = intake.table
    this.#seq = intake.seq
    this.#head = larger(this.#head, intake.seq)
    if (this.#stage.kind === 'live' || (this.#stage.kind === 'empty' && nowMs() < this.#leaseEndsMs)) this.#show()
    else if (this.#stage.kind === 'empty') this.#hide()
    if (old !== undefined) visible.drop(old, DepartureReason.EXPIRED)
    this.#compareDigest()
  }

  /** At the seq of a state the table must be the one that the state tells of. */
  #compareDigest(): void {
    const expected = this.#expected
    const table = this.#table
    if (expected === undefined || table === undefined || expected.headSeq > this.#seq) return
    this.#expected = undefined
    if (expected.headSeq < this.#seq) return
    if (expected.rowCount === BigInt(table.rows) && equalBytes(expected.digest, table.digest.bytes())) {
      this.#mismatches = 0
      return
    }
    this.#mismatches += 1
    if (this.#mismatches > MAX_MISMATCHES) {
      throw new MeshError(ErrorReason.DIGEST_MISMATCH, `its table at seq ${this.#seq} is not the one it tells of`)
    }
    this.#needsSnapshot = true
  }

  /** What follows from a new state or new rows. */
  #settle(): void {
    if (this.#needsSnapshot && this.#intake === undefined) this.#pull()
    const stage = this.#stage
    if (stage.kind !== 'hidden' || stage.needsSeq === undefined || this.#options.nowMs() >= this.#leaseEndsMs) return
    if (this.#seq >= stage.needsSeq) this.#show()
  }

  /** Asks for what is missing; not again before it can have come, and never for two snapshots within a state interval. */
  #pull(): void {
    const { limits, nowMs, pull } = this.#options
    const { federationStateMs, federationLeaseMs } = limits
    const waitMs = this.#hasMoved ? federationStateMs : Math.max(federationStateMs, federationLeaseMs / 3)
    if (nowMs() < this.#pulledAtMs + waitMs) return
    this.#pulledAtMs = nowMs()
    this.#dropIntake()
    this.#awaitedSnapshots = Math.min(this.#awaitedSnapshots + 1, MAX_AWAITED_SNAPSHOTS)
    pull(this.#epoch, this.position.seq)
  }

  #show(): void {
    if (this.#table !== undefined) this.#options.visible.show(this.#table)
    this.#stage = { kind: 'live' }
  }

  #hide(): void {
    const { visible, limits, nowMs } = this.#options
    if (this.#table !== undefined) visible.hide(this.#table, DepartureReason.SERVER_LOST)
    this.#stage = { kind: 'hidden', dropAtMs: nowMs() + limits.federationHiddenMs, needsSeq: undefined }
  }

  /** Drops the rows, and remembers the position. */
  #clear(): void {
    this.#dropIntake()
    if (this.#table !== undefined) this.#options.visible.drop(this.#table, DepartureReason.SERVER_LOST)
    this.#table = undefined
    this.#expected = undefined
    this.#stage = this.#empty()
  }

  #dropIntake(): void {
    if (this.#intake !== undefined) this.#options.store.dropTable(this.#intake.table)
    this.#intake = undefined
  }

  #dropFormer(former: FormerTable): void {
    this.#formers = this.#formers.filter((other) => other !== former)
    this.#options.visible.drop(former.table, DepartureReason.SERVER_LOST)
  }
}

function checkState({ leaseMs, digest, rowCount }: OriginState, limits: ServerLimits): void {
  const { federationMaxLeaseMs, federationMaxRows } = limits
  if (leaseMs === 0 || digest.length !== 32) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'a state has a lease of at least 1 ms and a digest of 32 bytes')
  }
  if (leaseMs > federationMaxLeaseMs) throw limitError('federationMaxLeaseMs', federationMaxLeaseMs, { value: leaseMs })
  if (rowCount > BigInt(federationMaxRows))
    throw limitError('federationMaxRows', federationMaxRows, { value: rowCount })
}

function backwards(what: string): MeshError {
  return new MeshError(ErrorReason.LOG_GAP, what)
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
