import { type ByteKey, bytesOfKey } from '../../../../byte-key.ts'
import type { ByteSlab } from './byte-slab.ts'
import { RowDigest } from './row-digest.ts'
import type { TableView } from './table-view.ts'

/** The rows of one origin in one epoch; what they are lies in the `RowStore`. */
export class RowTable {
  /** Its number in the store. */
  readonly number: number
  readonly origin: ByteKey
  /** `origin` as bytes. */
  readonly originKey: Uint8Array
  readonly slab: ByteSlab
  readonly digest = new RowDigest()
  rows = 0
  /** Bytes of the largest signed record that it ever had. */
  largestRecordBytes = 0
  /** Whether its rows take part in what is shown. */
  live = false
  /** Whether its origin left the epoch: a newer table tells what becomes of its peers. */
  isFormer = false
  /** Those who are reading the table as it was at some moment. */
  readonly views = new Set<TableView>()

  constructor(number: number, origin: ByteKey, slab: ByteSlab) {
    this.number = number
    this.origin = origin
    this.originKey = bytesOfKey(origin)
    this.slab = slab
  }
}
