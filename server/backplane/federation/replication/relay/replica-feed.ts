import { clone } from '@bufbuild/protobuf'
import { type Row, RowSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { bytesOfKey } from '../../../../byte-key.ts'
import type { Feed } from '../log/cursor.ts'
import { OriginLog } from '../log/origin-log.ts'
import type { Replica, ReplicaFollower } from '../replica/replica.ts'
import type { RowStore } from '../table/row-store.ts'
import type { RowTable } from '../table/row-table.ts'
import type { TableView } from '../table/table-view.ts'

/** A replica as others are sent it: its table, and a log that starts when the first of them asks. */
export class ReplicaFeed implements Feed, ReplicaFollower {
  readonly origin: Uint8Array
  readonly #replica: Replica
  readonly #store: RowStore
  readonly #maxEntries: number
  #log: OriginLog

  constructor(replica: Replica, store: RowStore, maxEntries: number) {
    this.origin = bytesOfKey(replica.origin)
    this.#replica = replica
    this.#store = store
    this.#maxEntries = maxEntries
    this.#log = new OriginLog(replica.base?.seq ?? 0n)
    replica.follower = this
  }

  /** Whether there is anything to pass on. */
  get isOpen(): boolean {
    return this.#replica.base !== undefined
  }

  get epoch(): bigint {
    return this.#replica.position.epoch
  }

  get log(): OriginLog {
    return this.#log
  }

  view(): TableView {
    return this.#store.view(this.#replica.base?.table as RowTable)
  }

  applied(row: Row): void {
    // A copy: an entry must not keep the whole frame that it came in.
    this.#log.append(clone(RowSchema, row), this.#maxEntries)
  }

  replaced(seq: bigint): void {
    this.#log = new OriginLog(seq)
  }

  close(): void {
    this.#replica.follower = undefined
  }
}
