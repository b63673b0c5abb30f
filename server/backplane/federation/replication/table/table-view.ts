import type { Row } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { RowTable } from './row-table.ts'

/** Bytes of a Row on the wire beside its signed record, as `rowBytes` counts them, rounded up. */
const ROW_OVERHEAD_BYTES = 176

/**
 * A table as it was at one moment, read in pages while it goes on changing. Only the list of its rows is copied (4 bytes
 * each); a row that changes later is kept here as it was, once, until the view is closed.
 */
export class TableView {
  readonly #table: RowTable
  readonly #slots: Uint32Array
  readonly #read: (slot: number) => Row
  /** What changed since: the row as it was, or undefined where there was none. */
  readonly #before = new Map<number, Row | undefined>()
  #closed = false

  constructor(table: RowTable, slots: Uint32Array, read: (slot: number) => Row) {
    this.#table = table
    this.#slots = slots
    this.#read = read
    table.views.add(this)
  }

  get rows(): number {
    return this.#slots.length
  }

  /** Whether the view ended: by its reader, or because the table is gone. */
  get closed(): boolean {
    return this.#closed
  }

  /** Rows on one page, so that the largest of them fit into `maxBytes`. */
  rowsPerPage(maxRows: number, maxBytes: number): number {
    return Math.max(1, Math.min(maxRows, Math.floor(maxBytes / (this.#table.largestRecordBytes + ROW_OVERHEAD_BYTES))))
  }

  /** The rows from `start` to before `end`. */
  page(start: number, end: number): Row[] {
    const rows: Row[] = []
    for (const slot of this.#slots.subarray(start, end)) {
      // Every slot of the list had a row.
      rows.push(this.#before.has(slot) ? (this.#before.get(slot) as Row) : this.#read(slot))
    }
    return rows
  }

  /** The row in `slot` is about to change; `row` gives it as it is, undefined when the slot was vacant. */
  keep(slot: number, row: (() => Row) | undefined): void {
    if (!this.#before.has(slot)) this.#before.set(slot, row?.())
  }

  close(): void {
    this.#closed = true
    this.#table.views.delete(this)
    this.#before.clear()
  }
}
