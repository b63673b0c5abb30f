import { ErrorReason, equalBytes, MeshError, TokenBucket } from '@mesh/core'
import type { OriginState, Row, Rows, SnapshotPage } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { Instant } from '../../../../directory/directory.ts'
import { limitError, type ServerLimits } from '../../../../limits/server-limits.ts'
import type { OriginStatus } from '../../../../ops/federation-status.ts'
import { canBeOfAnother } from '../log/own-epoch.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'
import type { VisibleSet } from '../visible/visible-set.ts'
import { LeasedTables } from './leased-tables.ts'
import type { RowIntake } from './row-intake.ts'
import { SnapshotIntake } from './snapshot-intake.ts'

export interface ReplicaOptions {
  readonly origin: ByteKey
  readonly store: RowStore
  readonly visible: VisibleSet
  readonly rows: RowIntake
  readonly limits: ServerLimits
  readonly now: () => Instant
  /** Asks for what comes after a position; seq 0 asks for a snapshot. */
  readonly pull: (epoch: bigint, seq: bigint) => void
}

/** Who passes the replica on to others. */
export interface ReplicaFollower {
  applied(row: Row): void
  replaced(seq: bigint): void
}

/** A table, and where in its origin's log it stands. */
export interface TablePosition {
  readonly epoch: bigint
  readonly seq: bigint
  readonly table: RowTable
}

/** Times in a row that a table may differ from its origin's digest, each answered with a new snapshot. */
const MAX_MISMATCHES = 3
/** Snapshots that may be under way at once: that many times something got lost on the way to the first. */
const MAX_AWAITED_SNAPSHOTS = 4

/**
 * What this server holds of one other server's log.
 *
 *  - Entries are applied in order and once. A gap, or a table whose digest is not the origin's, is answered with a Pull.
 *  - (epoch, seq) never goes back; it outlives the rows.
 *  - A state counts once. It prolongs the lease of rows that it speaks for: those that have nothing to catch up with, or
 *    moved on since the last state.
 *
 * Methods throw what the origin did wrong; what was applied before that stays, for as long as its lease.
 */
export class Replica {
  readonly #options: ReplicaOptions
  readonly #key: Uint8Array
  readonly #tables: LeasedTables
  follower: ReplicaFollower | undefined
  readonly #epochs: TokenBucket
  readonly #snapshots: TokenBucket
  #intake: SnapshotIntake | undefined
  #epoch = 0n
  #seq = 0n
  /** What was reached through other servers: what the origin sent itself may have waited on the way, and be older. */
  #adoptedSeq = 0n
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
  #pulledAtMs = Number.NEGATIVE_INFINITY
  #isPullAnswered = true
  #staleSinceMs: number | undefined
  #condemned: MeshError | undefined

  constructor(options: ReplicaOptions) {
    const { visible, limits, now } = options
    const nowMs = (): number => now().monotonicMs
    this.#options = options
    this.#key = bytesOfKey(options.origin)
    this.#tables = new LeasedTables({ visible, limits, nowMs })
    const clock = { monotonicMs: nowMs }
    const { federationLeaseMs, federationEpochsBurst } = limits
    const { federationSnapshotsPerSecond, federationSnapshotsBurst } = limits
    this.#epochs = new TokenBucket({ perSecond: 1_000 / federationLeaseMs, burst: federationEpochsBurst, clock })
    this.#snapshots = new TokenBucket({
      perSecond: federationSnapshotsPerSecond,
      burst: federationSnapshotsBurst,
      clock,
    })
  }

  get origin(): ByteKey {
    return this.#options.origin
  }

  /** What follows is wanted: seq 0 when that is everything. */
  get position(): { epoch: bigint; seq: bigint } {
    return { epoch: this.#epoch, seq: this.#tables.table === undefined || this.#needsSnapshot ? 0n : this.#seq }
  }

  /** The table that further entries follow; undefined while there is none, or a snapshot is wanted. */
  get base(): TablePosition | undefined {
    const { table, stage } = this.#tables
    if (table === undefined || stage === 'empty' || this.#needsSnapshot) return undefined
    return { epoch: this.#epoch, seq: this.#seq, table }
  }

  get isEmpty(): boolean {
    return this.#tables.stage === 'empty'
  }

  /** Whether this is less than what the origin told of, or nothing yet. */
  get isIncomplete(): boolean {
    return this.#isBehind || this.#needsSnapshot
  }

  /** Undefined when no rows are held. */
  get status(): Omit<OriginStatus, 'via'> | undefined {
    const { table, stage, msSinceHeard } = this.#tables
    if (table === undefined || stage === 'empty') return undefined
    return {
      key: this.#key,
      epoch: this.#epoch,
      seq: this.#seq,
      head: this.#head,
      rows: table.rows,
      digest: table.digest.bytes(),
      state: stage,
      msSinceState: msSinceHeard,
    }
  }

  /** When `tick` has something to do. */
  get dueMs(): number {
    return this.#tables.dueMs
  }

  /** A stream with the origin is open: it sends what follows the position it was told, as a log or a snapshot. */
  connected(): void {
    this.#awaitedSnapshots = 1
    this.#lastSnapshotId = undefined
    this.#hasMoved = true
    this.#staleSinceMs = undefined
    this.#pulledAtMs = this.#nowMs
    this.#isPullAnswered = false
  }

  /** The stream ended. Whether the origin is alive is decided by its lease, not here. */
  disconnected(): void {
    this.#dropIntake()
    this.#awaitedSnapshots = 0
  }

  /**
   * The origin said how it stands.
   * @throws MeshError INVALID_ARGUMENT, LIMIT_EXCEEDED (federation_max_lease_ms, federation_max_rows,
   * federation_epochs_burst), EPOCH_STALE, LOG_GAP, DIGEST_MISMATCH, and the reason for which its rows are withheld
   */
  receiveState(state: OriginState): void {
    checkState(state, this.#options.limits)
    if (!this.#acceptsEpoch(state.epoch) || state.beat <= this.#beat) return
    if (state.headSeq < this.#toldHead) throw backwards('the origin took back entries of its log')
    const isMoving = this.#hasMoved
    const isStalled = this.#isBehind && !isMoving
    this.#beat = state.beat
    this.#toldHead = state.headSeq
    this.#head = larger(this.#head, state.headSeq)
    this.#hasMoved = false
    this.#expected ??= state
    this.#compareDigest()
    const isRight = this.#mismatches === 0 || isMoving
    const speaksForRows = !isStalled && isRight
    this.#tables.heard(state.headSeq, speaksForRows ? state.leaseMs : undefined)
    if (isStalled && this.#isBehind) this.#pull()
    this.#settle()
  }

  /**
   * Takes entries of the log, or a page of a snapshot.
   * @throws MeshError INVALID_ARGUMENT, EPOCH_STALE, LOG_GAP, LIMIT_EXCEEDED (federation_max_rows,
   * federation_snapshots_per_second, federation_epochs_burst), DIGEST_MISMATCH, the reason for which a row is refused, and the
   * one for which the origin's rows are withheld
   */
  receiveRows(rows: Rows): void {
    if (!this.#acceptsEpoch(rows.epoch)) return
    if (rows.snapshot === undefined) this.#receiveEntries(rows)
    else this.#receivePage(rows, rows.snapshot)
    this.#settle()
  }

  /** Whether a state is newer than all that counted, and than the rows that are here. */
  isNews({ epoch, beat, headSeq }: OriginState): boolean {
    return epoch > this.#epoch || (epoch === this.#epoch && beat > this.#beat && headSeq >= this.#seq)
  }

  /** Takes a table that the origin vouched for, though it came through another server. */
  adopt({ epoch, seq, table }: TablePosition): void {
    if (epoch > this.#epoch) this.#enter(epoch)
    this.#dropIntake()
    this.#swap(table, seq)
    this.#adoptedSeq = seq
  }

  /** Takes the entries that follow, which the origin vouched for. */
  adoptEntries(rows: readonly Row[]): void {
    const { table } = this.#tables
    if (table === undefined || rows.length === 0) return
    // A snapshot that the origin began to send itself, and that stands still, is of the past now.
    this.#dropIntake()
    this.#apply(table, rows)
    this.#head = larger(this.#head, this.#seq)
    this.#adoptedSeq = this.#seq
  }

  /** This process was paused: see `LeasedTables.grantGrace`. */
  grantGrace(graceMs: number): void {
    this.#tables.grantGrace(graceMs)
  }

  /** Does what is due. False when the origin can be forgotten. */
  tick(): boolean {
    return this.#tables.tick()
  }

  /** The origin passed on what its peers did not sign: nothing of this epoch is shown any more. */
  condemn(error: MeshError): void {
    this.#condemned = error
    this.forget()
  }

  /** The rows go, all of them. */
  forget(): void {
    this.#dropIntake()
    this.#expected = undefined
    this.#tables.clear()
  }

  get #isBehind(): boolean {
    return this.#tables.table === undefined || this.#seq < this.#head
  }

  /** Whether something of this epoch is to be taken; enters a newer one. */
  #acceptsEpoch(epoch: bigint): boolean {
    if (epoch < this.#epoch) {
      this.#refuseStale()
      return false
    }
    if (epoch > this.#epoch) {
      if (!canBeOfAnother(epoch, this.#options.now().wallMs)) {
        throw new MeshError(ErrorReason.EPOCH_STALE, `epoch ${epoch} lies in the future`, { value: epoch })
      }
      this.#enter(epoch)
      // Not right after Hello, which asked already.
      this.#pull()
    }
    if (this.#condemned !== undefined) throw this.#condemned
    return true
  }

  /** The origin does not know how far it was, after a restart with its clock set back: a Pull tells it. */
  #refuseStale(): void {
    const { limits, pull } = this.#options
    this.#staleSinceMs ??= this.#nowMs
    if (this.#nowMs - this.#staleSinceMs > 4 * limits.federationStateMs) {
      const value = this.#epoch
      throw new MeshError(ErrorReason.EPOCH_STALE, `the origin was in epoch ${value} before`, { value })
    }
    // Again with every frame: it rises once in a while only, and may just have done so for another server. When it does, it
    // answers with a snapshot.
    this.#pulledAtMs = this.#nowMs
    this.#isPullAnswered = false
    this.#awaitSnapshot()
    pull(this.#epoch, 0n)
  }

  #enter(epoch: bigint): void {
    if (!this.#epochs.take()) throw overRate('federationEpochsBurst', this.#epochs, this.#options.limits)
    this.#dropIntake()
    this.#tables.startOver()
    this.#lastSnapshotId = undefined
    this.#epoch = epoch
    this.#seq = 0n
    this.#adoptedSeq = 0n
    this.#head = 0n
    this.#toldHead = 0n
    this.#beat = -1n
    this.#expected = undefined
    this.#mismatches = 0
    this.#needsSnapshot = false
    this.#condemned = undefined
    this.#staleSinceMs = undefined
  }

  #receiveEntries({ fromSeq, toSeq, rows }: Rows): void {
    if (fromSeq < 1n || rows.length === 0 || toSeq !== fromSeq + BigInt(rows.length - 1)) {
      throw invalid(`${rows.length} rows are not the entries ${fromSeq} to ${toSeq}`)
    }
    // The log goes on only after a snapshot: the sender gave it up, or a page was lost.
    this.#dropIntake()
    this.#head = larger(this.#head, toSeq)
    const { table } = this.#tables
    if (table === undefined || fromSeq > this.#seq + 1n) {
      this.#pull()
      return
    }
    this.#apply(table, rows.slice(Number(this.#seq + 1n - fromSeq)))
  }

  #apply(table: RowTable, rows: readonly Row[]): void {
    for (const row of rows) {
      this.#options.rows.apply(table, row)
      this.#seq += 1n
      this.follower?.applied(row)
      this.#moved()
      this.#compareDigest()
    }
  }

  #receivePage(rows: Rows, page: SnapshotPage): void {
    const intake = this.#intakeFor(rows, page)
    const verdict = intake?.account(rows, page)
    if (verdict === 'missing') {
      this.#dropIntake()
      this.#pull()
    }
    if (intake === undefined || verdict !== 'next') return
    this.#options.rows.addAll(intake.table, rows.rows)
    this.#moved()
    if (!intake.isComplete) return
    this.#intake = undefined
    this.#lastSnapshotId = intake.id
    this.#swap(intake.table, intake.seq)
  }

  /** The snapshot that a page belongs to; undefined for one that was taken or given up. */
  #intakeFor(rows: Rows, page: SnapshotPage): SnapshotIntake | undefined {
    const { store, limits } = this.#options
    if (this.#intake?.id === page.snapshotId) return this.#intake
    if (page.page > 0 || page.snapshotId === this.#lastSnapshotId) return undefined
    if (this.#awaitedSnapshots === 0) throw invalid('nobody asked for a snapshot')
    if (!this.#snapshots.take()) throw overRate('federationSnapshotsPerSecond', this.#snapshots, limits)
    const isOvertaken = rows.toSeq < this.#adoptedSeq
    if (rows.toSeq < this.#seq && !isOvertaken) {
      throw backwards(`the snapshot is of seq ${rows.toSeq}, and ${this.#seq} was reached`)
    }
    this.#dropIntake()
    this.#awaitedSnapshots -= 1
    if (isOvertaken) {
      this.#lastSnapshotId = page.snapshotId
      return undefined
    }
    this.#intake = new SnapshotIntake(rows, page, limits.federationMaxRows, () => store.createTable(this.origin))
    return this.#intake
  }

  /** Every page of a snapshot was there. */
  #swap(table: RowTable, seq: bigint): void {
    this.#needsSnapshot = false
    this.#seq = seq
    this.#head = larger(this.#head, seq)
    this.#tables.replace(table)
    this.follower?.replaced(seq)
    this.#compareDigest()
  }

  /** At the seq of a state the table must be the one that the state tells of. */
  #compareDigest(): void {
    const expected = this.#expected
    const { table } = this.#tables
    if (expected === undefined || table === undefined || expected.headSeq > this.#seq) return
    this.#expected = undefined
    // While a snapshot is wanted, the table is known to be wrong.
    if (expected.headSeq < this.#seq || this.#needsSnapshot) return
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

  get #nowMs(): number {
    return this.#options.now().monotonicMs
  }

  #moved(): void {
    this.#hasMoved = true
    this.#isPullAnswered = true
  }

  /** What follows from a new state or new rows. */
  #settle(): void {
    if (this.#needsSnapshot && this.#intake === undefined) this.#pull()
    // What was hidden is not shown again while it is known to be wrong.
    if (!this.#needsSnapshot) this.#tables.reached(this.#seq)
  }

  /** Asks for what is missing: at once when the last Pull was answered, else not before the answer can have come. */
  #pull(): void {
    const { limits, pull } = this.#options
    const { federationStateMs, federationLeaseMs } = limits
    const patienceMs = this.#needsSnapshot ? federationStateMs : 0
    const waitMs = this.#isPullAnswered ? patienceMs : Math.max(federationStateMs, federationLeaseMs / 3)
    if (this.#nowMs < this.#pulledAtMs + waitMs) return
    this.#pulledAtMs = this.#nowMs
    this.#isPullAnswered = false
    this.#dropIntake()
    // What comes now is an answer, also when it has the number of the last one.
    this.#lastSnapshotId = undefined
    this.#awaitSnapshot()
    pull(this.#epoch, this.position.seq)
  }

  /** A Pull is sent, which may be answered by a snapshot. */
  #awaitSnapshot(): void {
    this.#awaitedSnapshots = Math.min(this.#awaitedSnapshots + 1, MAX_AWAITED_SNAPSHOTS)
  }

  #dropIntake(): void {
    if (this.#intake !== undefined) this.#options.store.dropTable(this.#intake.table)
    this.#intake = undefined
  }
}

function checkState({ leaseMs, digest, rowCount }: OriginState, limits: ServerLimits): void {
  const { federationMaxLeaseMs, federationMaxRows } = limits
  if (leaseMs === 0 || digest.length !== 32)
    throw invalid('a state has a lease of 1 ms or more, and a digest of 32 bytes')
  if (leaseMs > federationMaxLeaseMs) throw limitError('federationMaxLeaseMs', federationMaxLeaseMs, { value: leaseMs })
  if (rowCount > BigInt(federationMaxRows))
    throw limitError('federationMaxRows', federationMaxRows, { value: rowCount })
}

function overRate(
  name: 'federationEpochsBurst' | 'federationSnapshotsPerSecond',
  bucket: TokenBucket,
  limits: ServerLimits,
): MeshError {
  return limitError(name, limits[name], { retryAfterMs: Math.max(1, bucket.msUntil()) })
}

function invalid(what: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, what)
}

function backwards(what: string): MeshError {
  return new MeshError(ErrorReason.LOG_GAP, what)
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
