import { nextSeq } from '@mesh/core'

/**
 * Numbers the records of one peer (MembershipRecord.seq). One count for all topics of a client, so that a topic that is left
 * and joined again in the same millisecond goes on above its LEAVE.
 */
export class RecordSeq {
  #last = 0n

  next(wallMs: number): bigint {
    this.#last = nextSeq(this.#last, wallMs)
    return this.#last
  }

  /** Goes on above what another life of this peer has used. */
  goOnAbove(seq: bigint): void {
    if (seq > this.#last) this.#last = seq
  }
}
