import { create } from '@bufbuild/protobuf'
import type { AckRange, Frame } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { AckRangeSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { heldBytes } from './frame-size.ts'
import type { LinkLimits } from './link-limits.ts'
import { MAX_RANGES } from './send-window.ts'
import { SeqRing } from './seq-ring.ts'

// Puts the other side's frames back in order, each exactly once.
//
// A frame that is next in line goes straight through. One beyond a gap is held, and reported in the ranges of every
// packet until the gap closes. What has been seen is dropped; what does not fit into the bounds is dropped without
// being acknowledged, so that the other side sends it again when there is room.

interface Held {
  readonly frame: Frame
  readonly bytes: number
}

/** Frames held between two gaps, inclusive. */
interface HeldRange {
  first: number
  last: number
}

export class ReceiveWindow {
  readonly #limits: Pick<LinkLimits, 'reorderFrames' | 'reorderBytes'>
  readonly #ring = new SeqRing<Held>()
  /** Ascending, with gaps between them. */
  readonly #ranges: HeldRange[] = []
  #inOrder = 0
  #heldFrames = 0
  #heldBytes = 0

  constructor(limits: Pick<LinkLimits, 'reorderFrames' | 'reorderBytes'>) {
    this.#limits = limits
  }

  /** Every frame up to this number has arrived (PacketBody.ack). */
  get inOrder(): number {
    return this.#inOrder
  }
  get heldFrames(): number {
    return this.#heldFrames
  }
  get heldBytes(): number {
    return this.#heldBytes
  }

  /**
   * Takes a frame.
   * @returns `next`: it is next in line, the caller handles it now and then what `shift` gives; `held`: kept for later;
   *   `duplicate`: seen before; `overflow`: no room. The last two are dropped.
   */
  accept(seq: number, frame: Frame): 'next' | 'held' | 'duplicate' | 'overflow' {
    if (seq === this.#inOrder + 1) {
      this.#inOrder = seq
      return 'next'
    }
    if (seq <= this.#inOrder) return 'duplicate'
    if (seq - this.#inOrder > this.#limits.reorderFrames) return 'overflow'
    if (this.#isHeld(seq)) return 'duplicate'
    const bytes = heldBytes(frame)
    if (this.#heldBytes + bytes > this.#limits.reorderBytes) return 'overflow'
    const highest = Math.max(seq, this.#ranges.at(-1)?.last ?? 0)
    this.#ring.set(seq, { frame, bytes }, this.#inOrder + 1, highest)
    this.#heldFrames += 1
    this.#heldBytes += bytes
    this.#addToRanges(seq)
    return 'held'
  }

  /** The next frame in line, if it is held. */
  shift(): Frame | undefined {
    const range = this.#ranges[0]
    const seq = this.#inOrder + 1
    if (range === undefined || range.first !== seq) return undefined
    const held = this.#ring.get(seq) as Held
    this.#ring.delete(seq)
    this.#heldFrames -= 1
    this.#heldBytes -= held.bytes
    if (range.last === seq) this.#ranges.shift()
    else range.first = seq + 1
    this.#inOrder = seq
    return held.frame
  }

  /** What is held, lowest first, at most 16 ranges (PacketBody.ranges). */
  ranges(): AckRange[] {
    if (this.#ranges.length === 0) return []
    return this.#ranges
      .slice(0, MAX_RANGES)
      .map(({ first, last }) => create(AckRangeSchema, { first: BigInt(first), last: BigInt(last) }))
  }

  /** Lets go of everything held. */
  clear(): void {
    while (this.#ranges.length > 0) {
      const { first, last } = this.#ranges.pop() as HeldRange
      for (let seq = first; seq <= last; seq++) this.#ring.delete(seq)
    }
    this.#heldFrames = this.#heldBytes = 0
  }

  #isHeld(seq: number): boolean {
    const range = this.#ranges[this.#rangeAtOrAfter(seq)]
    return range !== undefined && range.first <= seq
  }

  /** Index of the first range that ends at `seq` or later; the number of ranges when none does. */
  #rangeAtOrAfter(seq: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ranges[middle] as HeldRange).last < seq) low = middle + 1
      else high = middle
    }
    return low
  }

  #addToRanges(seq: number): void {
    const index = this.#rangeAtOrAfter(seq)
    const before = this.#ranges[index - 1]
    const after = this.#ranges[index]
    const joinsBefore = before !== undefined && before.last === seq - 1
    const joinsAfter = after !== undefined && after.first === seq + 1
    if (joinsBefore && joinsAfter) {
      before.last = after.last
      this.#ranges.splice(index, 1)
    } else if (joinsBefore) before.last = seq
    else if (joinsAfter) after.first = seq
    else this.#ranges.splice(index, 0, { first: seq, last: seq })
  }
}
