import { fromBinary } from '@bufbuild/protobuf'
import { MembershipRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { TopicChange } from '../../../../server/directory/directory.ts'
import type { MemoryDirectory } from '../../../../server/directory/memory-directory.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'

/** One membership as its home server published it. */
export interface RowFact {
  readonly topicKey: ByteKey
  readonly peer: ByteKey
  readonly session: ByteKey
  readonly order: bigint
  /** seq of the record. */
  readonly recordSeq: bigint
}

/** A membership that is over, and the entry of the log that says so. */
export interface EndedRow extends RowFact {
  readonly epoch: bigint
  readonly seq: bigint
}

/** A LEAVE that a peer signed, as an entry of the log. */
export interface SignedLeave {
  readonly seq: bigint
  readonly topicKey: ByteKey
  readonly peer: ByteKey
  /** Of the session that it was signed in. */
  readonly order: bigint
  readonly recordSeq: bigint
}

/** Later than every entry: for rows that ended with their process. */
const NEVER_TOLD = 2n ** 64n

/** The memberships of one server at one seq of its log. */
export type Table = ReadonlyMap<string, RowFact>

/** What a server published up to one seq. */
export interface Published {
  readonly table: Table
  /** As its own replication says; undefined for a seq that was not the last of its step. */
  readonly digest: Uint8Array | undefined
}

interface EpochHistory {
  /** Which start of the server wrote it. */
  readonly boot: number
  readonly published: Map<bigint, Published>
  readonly leaves: SignedLeave[]
  head: bigint
}

/**
 * What one server published, over all its starts, as told by its own directory and not by replication: the table at every
 * seq of every epoch. Replicas are compared with it.
 */
export class OriginHistory {
  readonly #epochs = new Map<bigint, EpochHistory>()
  /** Changes of the own directory since the last `note`, and the epochs they were written in: it may have begun another one since. */
  #pending: { readonly change: TopicChange; readonly epoch: bigint }[] = []
  #table: Table = new Map()
  #epoch = 0n
  #mostRows = 0

  /** The rows now. */
  get table(): Table {
    return this.#table
  }

  /** Rows that the process had at once. */
  get mostRows(): number {
    return this.#mostRows
  }

  /** Listens to the directory of a new process; `changed` is called with every change of it, `epochNow` tells which epoch it is in. */
  observe(directory: MemoryDirectory, epochNow: () => bigint, changed: (change: TopicChange) => void): void {
    this.#pending = []
    this.#mostRows = 0
    this.#table = new Map()
    const take = (change: TopicChange): void => {
      this.#pending.push({ change, epoch: epochNow() })
      changed(change)
    }
    const noted = <T>(result: T, change: TopicChange | undefined): T => {
      if (change !== undefined) take(change)
      return result
    }
    const { announce, leave, withdraw, expire } = directory
    directory.announce = (record, now) => {
      const result = announce.call(directory, record, now)
      return noted(result, result.change)
    }
    directory.leave = (record, now) => {
      const result = leave.call(directory, record, now)
      return noted(result, result.change)
    }
    directory.withdraw = (topicKey, peer, sessionId, reason, now) => {
      const change = withdraw.call(directory, topicKey, peer, sessionId, reason, now)
      return noted(change, change)
    }
    directory.expire = (now) => {
      const changes = expire.call(directory, now)
      for (const change of changes) take(change)
      return changes
    }
  }

  /**
   * Takes down what the server published in the step that ended. Returns the rows that ended, and what is wrong when the
   * log does not have one entry for each change.
   */
  note(
    boot: number,
    { epoch, seq: head, digest }: Pick<OriginStatus, 'epoch' | 'seq' | 'digest'>,
  ): { ended: readonly EndedRow[]; fault: string | undefined; started?: boolean } {
    const pending = this.#pending
    const known = this.#epochs.get(epoch)
    if (known !== undefined && pending.length === 0 && known.head === head && known.boot === boot) return NOTHING
    this.#pending = []
    if (known !== undefined && known.boot !== boot) return { ended: [], fault: 'uses an epoch of an earlier start' }
    const ended: EndedRow[] = []
    for (const { change, epoch: written } of pending) {
      const history = this.#historyOf(boot, written)
      history.head += 1n
      const gone = this.#apply(change)
      if (gone !== undefined) ended.push({ ...gone, epoch: written, seq: history.head })
      if (change.kind === 'left' && change.record !== undefined) {
        const { seq: recordSeq, sessionOrder: order } = fromBinary(MembershipRecordSchema, change.record.record)
        history.leaves.push({ seq: history.head, topicKey: change.topicKey, peer: change.peer, order, recordSeq })
      }
      history.published.set(history.head, { table: this.#table, digest: undefined })
    }
    const history = this.#historyOf(boot, epoch)
    history.published.set(history.head, { table: this.#table, digest })
    const isThere = history.head === head
    const fault = isThere ? undefined : `has its log at ${head} after ${pending.length} changes, not at ${history.head}`
    return { ended, fault, started: known === undefined }
  }

  /** Epochs that one start went through. */
  epochsOf(boot: number): number {
    return [...this.#epochs.values()].filter((epoch) => epoch.boot === boot).length
  }

  /** Which start of the server wrote an epoch. */
  bootOf(epoch: bigint): number | undefined {
    return this.#epochs.get(epoch)?.boot
  }

  /** Epochs of the starts after one. */
  epochsAfter(boot: number): number {
    return [...this.#epochs.values()].filter((epoch) => epoch.boot > boot).length
  }

  /** The tables that it had from a position on until it began a later epoch: a process may go through them in one step. */
  tablesUntil(later: bigint, { epoch: first, seq: from }: { readonly epoch: bigint; readonly seq: bigint }): Table[] {
    const epochs = [...this.#epochs].filter(([epoch]) => epoch >= first && epoch < later)
    return epochs.flatMap(([epoch, { published }]) => {
      return [...published].flatMap(([seq, { table }]) => (epoch > first || seq >= from ? [table] : []))
    })
  }

  /** Whether there was such a row in an epoch, at any time from a seq on. */
  hadRow(epoch: bigint, from: bigint, key: string, session: ByteKey): boolean {
    const tables = [...(this.#epochs.get(epoch)?.published ?? [])]
    return tables.some(([seq, { table }]) => seq >= from && table.get(key)?.session === session)
  }

  /** What it published up to a seq of an epoch; undefined when it never did. */
  at(epoch: bigint, seq: bigint): Published | undefined {
    return this.#epochs.get(epoch)?.published.get(seq)
  }

  /** The LEAVEs among the entries after one seq, up to another. */
  leavesBetween(epoch: bigint, after: bigint, upTo: bigint): readonly SignedLeave[] {
    return this.#epochs.get(epoch)?.leaves.filter(({ seq }) => seq > after && seq <= upTo) ?? []
  }

  /** The process is gone: every row ended. */
  end(): EndedRow[] {
    const ended = [...this.#table.values()].map((row) => ({ ...row, epoch: this.#epoch, seq: NEVER_TOLD }))
    this.#table = new Map()
    this.#pending = []
    return ended
  }

  /** A new epoch of the same start goes on where the one before it ended. */
  #historyOf(boot: number, epoch: bigint): EpochHistory {
    const known = this.#epochs.get(epoch)
    if (known !== undefined) return known
    const former = this.#epochs.get(this.#epoch)
    const head = former?.boot === boot ? former.head : 0n
    const first: Published = { table: this.#table, digest: undefined }
    const history = { boot, published: new Map([[head, first]]), leaves: [], head }
    this.#epochs.set(epoch, history)
    this.#epoch = epoch
    return history
  }

  /** Returns the row that ended by this change. */
  #apply(change: TopicChange): RowFact | undefined {
    const { topicKey, peer } = change
    const key = rowKey(topicKey, peer)
    const before = this.#table.get(key)
    const table = new Map(this.#table)
    this.#table = table
    if (change.kind === 'left') {
      table.delete(key)
      return before
    }
    const { sessionId, sessionOrder, seq } = change.record.record
    const session = byteKey(sessionId)
    table.set(key, { topicKey, peer, session, order: sessionOrder, recordSeq: seq })
    this.#mostRows = Math.max(this.#mostRows, table.size)
    return before?.session === session ? undefined : before
  }
}

const NOTHING = { ended: [], fault: undefined }

/** Names one membership at one server. */
export function rowKey(topicKey: ByteKey, peer: ByteKey): string {
  return `${topicKey}${peer}`
}
