import { ErrorReason, MeshError } from '@mesh/core'
import type { Rows, SnapshotPage } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError } from '../../../../limits/server-limits.ts'
import type { RowTable } from '../table/row-table.ts'

/** What a page is to the snapshot that is being taken in: the next one, one that was there before, or one too far. */
export type PageVerdict = 'next' | 'repeated' | 'missing'

/**
 * A snapshot on its way in. Its rows gather in a table of their own, which nobody sees; only when every page was there, in
 * order, may that table replace the replica's. Bounded before it starts: a page without rows is only allowed alone, so
 * there are never more pages than rows.
 */
export class SnapshotIntake {
  readonly id: bigint
  /** The seq that the snapshot stands for. */
  readonly seq: bigint
  readonly table: RowTable
  readonly #pageCount: number
  #nextPage = 0

  /** @throws MeshError LIMIT_EXCEEDED federation_max_rows */
  constructor(rows: Rows, { snapshotId, pageCount }: SnapshotPage, maxRows: number, createTable: () => RowTable) {
    if (pageCount > Math.max(1, maxRows)) throw limitError('federationMaxRows', maxRows, { value: pageCount })
    this.id = snapshotId
    this.seq = rows.toSeq
    this.#pageCount = pageCount
    this.table = createTable()
  }

  get isComplete(): boolean {
    return this.#nextPage === this.#pageCount
  }

  /**
   * Accounts for a page.
   * @throws MeshError INVALID_ARGUMENT when it contradicts the pages before it
   */
  account(rows: Rows, { page, pageCount }: SnapshotPage): PageVerdict {
    if (pageCount !== this.#pageCount || rows.toSeq !== this.seq) throw invalid('a page is of another snapshot')
    if (page >= pageCount) throw invalid(`page ${page} of a snapshot of ${pageCount}`)
    if (rows.rows.length === 0 && pageCount > 1) throw invalid('a page is empty')
    if (page !== this.#nextPage) return page < this.#nextPage ? 'repeated' : 'missing'
    this.#nextPage += 1
    return 'next'
  }
}

function invalid(what: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `the snapshot is refused: ${what}`)
}
