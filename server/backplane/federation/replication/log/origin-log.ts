import type { Row } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { rowBytes } from '../../trunk/frame-size.ts'

/** How much of a log one frame may carry. */
export interface FrameBounds {
  readonly maxRows: number
  readonly maxBytes: number
}

/**
 * The newest entries of a log, numbered without gaps. What is older was given up: who still needs it gets a snapshot.
 */
export class OriginLog {
  #entries: Row[] = []
  /** Entries at the start of the array that were given up. */
  #givenUp = 0
  #head: bigint

  /** `head` is the seq that the log starts after. */
  constructor(head: bigint) {
    this.#head = head
  }

  /** Seq of the newest entry. */
  get head(): bigint {
    return this.#head
  }

  /** Entries that are kept. */
  get length(): number {
    return this.#entries.length - this.#givenUp
  }

  /** The seq before the oldest entry: who holds it or a later one can be served from the log. */
  get base(): bigint {
    return this.#head - BigInt(this.length)
  }

  /** Appends an entry, and keeps at most the newest `maxEntries`. */
  append(row: Row, maxEntries: number): void {
    this.#entries.push(row)
    this.#head += 1n
    this.#givenUp += Math.max(0, this.length - maxEntries)
    // Half of the array is waste: as many entries are moved as were added since the last time.
    if (this.#givenUp * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#givenUp)
      this.#givenUp = 0
    }
  }

  /** Entries from the one after `seq` on, as many as fit, and at least one. `seq` is within base and head. */
  after(seq: bigint, { maxRows, maxBytes }: FrameBounds): Row[] {
    const start = this.#givenUp + Number(seq - this.base)
    let bytes = 0
    let end = start
    while (end < this.#entries.length && end - start < maxRows) {
      bytes += rowBytes(this.#entries[end] as Row)
      if (bytes > maxBytes && end > start) break
      end += 1
    }
    return this.#entries.slice(start, end)
  }
}
