import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { TokenBucket } from '@mesh/core'
import { type Row, type Rows, RowsSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { TableView } from '../table/table-view.ts'
import type { FrameBounds, OriginLog } from './origin-log.ts'

/** The log and the table of one origin, for those who send them. */
export interface Feed {
  /** Key of the origin. */
  readonly origin: Uint8Array
  readonly epoch: bigint
  readonly log: OriginLog
  /** The table as it is now, at the head of the log. */
  view(): TableView
}

export interface CursorOptions extends FrameBounds {
  readonly feed: Feed
  /** A number that no snapshot of this stream had. */
  readonly snapshotId: () => bigint
  readonly nowMs: () => number
  /** Snapshots that the other server may cause, sustained and at once. */
  readonly snapshotsPerSecond: number
  readonly snapshotsBurst: number
}

type Place =
  | { readonly kind: 'idle' }
  | { readonly kind: 'log'; readonly seq: bigint }
  | { readonly kind: 'snapshot'; readonly snapshot: Snapshot; readonly page: number }
  /** A snapshot is owed. */
  | { readonly kind: 'owed' }
  /** The other server holds a later epoch than there is: nothing of this one is of use to it. */
  | { readonly kind: 'ahead'; readonly epoch: bigint; readonly seq: bigint }

interface Snapshot {
  readonly id: bigint
  readonly seq: bigint
  readonly view: TableView
  readonly rowsPerPage: number
  readonly pageCount: number
}

/**
 * Where one other server stands in one origin's log, and what it gets next: the entries after what it holds, or, when the
 * log does not reach back that far, the table page by page and then the log from there on. A server that falls out of
 * the log meanwhile is sent what the log still has: it sees the gap, and pulls.
 */
export class Cursor {
  readonly #options: CursorOptions
  #place: Place = { kind: 'idle' }
  #epoch = 0n
  readonly #snapshots: TokenBucket

  constructor(options: CursorOptions) {
    const { snapshotsPerSecond, snapshotsBurst, nowMs } = options
    this.#options = options
    const clock = { monotonicMs: nowMs }
    this.#snapshots = new TokenBucket({ perSecond: snapshotsPerSecond, burst: snapshotsBurst, clock })
  }

  /** Whether the other server is being brought up to date with more than what the log usually keeps. */
  isCatchingUp(usualEntries: number): boolean {
    const { log } = this.#options.feed
    const place = this.#place
    return place.kind === 'snapshot' || (place.kind === 'log' && place.seq < log.head - BigInt(usualEntries))
  }

  get isSendingSnapshot(): boolean {
    return this.#place.kind === 'snapshot'
  }

  /** Whether the other server was placed in the epoch that there is now. */
  get isPlaced(): boolean {
    return this.#place.kind !== 'idle' && this.#place.kind !== 'ahead' && this.#epoch === this.#options.feed.epoch
  }

  /** Goes on after what the other server holds. Position 0 is nothing, and gets a snapshot rather than the whole past. */
  seek(epoch: bigint, seq: bigint): void {
    this.close()
    const { feed } = this.#options
    this.#epoch = feed.epoch
    if (epoch > feed.epoch) {
      this.#place = { kind: 'ahead', epoch, seq }
      return
    }
    const isInLog = epoch === feed.epoch && seq > 0n && seq >= feed.log.base && seq <= feed.log.head
    this.#place = isInLog ? { kind: 'log', seq } : { kind: 'owed' }
  }

  /** When there is something to send that is not there now: the earliest start of a snapshot that is owed. */
  get dueMs(): number {
    if (this.#place.kind !== 'owed') return Number.POSITIVE_INFINITY
    return this.#options.nowMs() + this.#snapshots.msUntil()
  }

  next(): Rows | undefined {
    const { feed } = this.#options
    if (this.#place.kind === 'ahead') {
      if (this.#place.epoch > feed.epoch) return undefined
      this.seek(this.#place.epoch, this.#place.seq)
    }
    // A new epoch makes every position worthless; the other server hears of it, and pulls.
    if (this.#epoch !== feed.epoch) this.close()
    if (this.#place.kind === 'owed' && this.#snapshots.take()) this.#startSnapshot()
    if (this.#place.kind === 'snapshot') return this.#page(this.#place.snapshot, this.#place.page)
    return this.#place.kind === 'log' ? this.#entries(this.#place.seq) : undefined
  }

  close(): void {
    if (this.#place.kind === 'snapshot') this.#place.snapshot.view.close()
    this.#place = { kind: 'idle' }
  }

  #startSnapshot(): void {
    const { feed, snapshotId, maxRows, maxBytes } = this.#options
    const view = feed.view()
    const rowsPerPage = view.rowsPerPage(maxRows, maxBytes)
    const pageCount = Math.max(1, Math.ceil(view.rows / rowsPerPage))
    this.#place = {
      kind: 'snapshot',
      snapshot: { id: snapshotId(), seq: feed.log.head, view, rowsPerPage, pageCount },
      page: 0,
    }
  }

  #page(snapshot: Snapshot, page: number): Rows | undefined {
    const { feed } = this.#options
    const { id, seq, view, rowsPerPage, pageCount } = snapshot
    if (view.closed || seq < feed.log.base) {
      // The table was replaced, or what changed since the snapshot began is lost: the rest of it is worth nothing.
      view.close()
      return this.#entries(feed.log.base)
    }
    const rows = view.page(page * rowsPerPage, (page + 1) * rowsPerPage)
    if (page + 1 < pageCount) {
      this.#place = { kind: 'snapshot', snapshot, page: page + 1 }
    } else {
      view.close()
      this.#place = { kind: 'log', seq }
    }
    return this.#frame(rows, { fromSeq: 0n, toSeq: seq, snapshot: { snapshotId: id, page, pageCount } })
  }

  #entries(held: bigint): Rows | undefined {
    const { feed } = this.#options
    const seq = held < feed.log.base ? feed.log.base : held
    const rows = seq === feed.log.head ? [] : feed.log.after(seq, this.#options)
    const toSeq = seq + BigInt(rows.length)
    this.#place = { kind: 'log', seq: toSeq }
    return rows.length === 0 ? undefined : this.#frame(rows, { fromSeq: seq + 1n, toSeq })
  }

  #frame(rows: Row[], what: Omit<MessageInitShape<typeof RowsSchema>, '$typeName' | 'rows'>): Rows {
    const { origin, epoch } = this.#options.feed
    return create(RowsSchema, { ...what, origin, epoch, rows })
  }
}
