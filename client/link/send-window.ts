import { create } from '@bufbuild/protobuf'
import type { MeshError } from '@mesh/core'
import { type AckRange, type Frame, FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { invalidFrame } from './frame-check.ts'
import type { Outgoing, Settlement } from './outgoing.ts'
import { SeqRing } from './seq-ring.ts'

// What this side has sent and the other has not acknowledged in order.
//
//  1. add() numbers a frame when it is put into a packet for the first time.
//  2. acknowledge() takes the cumulative number and the ranges of a packet. Frames up to the number are finished:
//     they leave, and their settlements are told. Frames in a range are held by the other side: their bytes are let
//     go, but they finish only in order, because only then has the other side's channel seen them.
//  3. A frame that counts as lost waits to be sent again, lowest number first, under its old number. Losses are found
//     by overtaking (RFC 9002 section 6.1), by timeout, or because the path changed.
//
// Counters are kept as frames change status, and a scan starts at the lowest lost frame, so an acknowledgement costs
// what it acknowledges, not what is outstanding. Only an acknowledgement with ranges looks at the frames in between.

/** A frame sent this many frames before one that arrived is lost (RFC 9002 section 6.1.1). */
const OVERTAKEN_BY = 3

/** Most ranges in one packet (link.proto, PacketBody.ranges). */
export const MAX_RANGES = 16

/** One frame between its first sending and its acknowledgement in order. */
export interface SentFrame {
  readonly seq: number
  /** Let go when the other side holds it. */
  frame: Frame | undefined
  readonly bytes: number
  settlement: Settlement | undefined
  status: 'in-flight' | 'lost' | 'held'
  sentAtMs: number
  /** Rises with every frame sent, repeats included. */
  transmission: number
  /** Sent once, on the present path: its acknowledgement measures the round trip (Karn's algorithm). */
  measurable: boolean
}

/** What one acknowledgement brought. */
export interface Acknowledged {
  /** Frames that the other side was not known to have. 0: nothing new. */
  readonly frames: number
  /** When the youngest of them was sent, if it was sent once: the round trip may be measured from here. */
  readonly sampleSentAtMs: number | undefined
}

export class SendWindow {
  readonly #ring = new SeqRing<SentFrame>()
  #lowest = 1
  #next = 1
  #transmission = 0
  /** Youngest transmission known to have arrived since the path last changed. */
  #arrived = 0
  #outstandingBytes = 0
  #inFlightFrames = 0
  #inFlightBytes = 0
  #lostFrames = 0
  #repeatedFrames = 0
  /** No lost frame has a lower number. */
  #lostFrom = 1
  /** Highest number in any range; 0 when no gap is known. */
  #highestHeld = 0

  /** Numbers in use: sent, and not acknowledged in order. The other side may have to keep all but the first. */
  get outstandingFrames(): number {
    return this.#next - this.#lowest
  }
  /** Bytes kept for sending again. */
  get outstandingBytes(): number {
    return this.#outstandingBytes
  }
  /** Sent on the present path and neither arrived nor lost, as far as is known. */
  get inFlightFrames(): number {
    return this.#inFlightFrames
  }
  get inFlightBytes(): number {
    return this.#inFlightBytes
  }
  get lostFrames(): number {
    return this.#lostFrames
  }
  /** Frames sent again since the beginning. */
  get repeatedFrames(): number {
    return this.#repeatedFrames
  }

  /** Numbers the frame and counts it as in flight. */
  add(outgoing: Outgoing, nowMs: number): SentFrame {
    const sent: SentFrame = {
      seq: this.#next++,
      frame: outgoing.frame,
      bytes: outgoing.bytes,
      settlement: outgoing.settlement,
      status: 'in-flight',
      sentAtMs: nowMs,
      transmission: ++this.#transmission,
      measurable: true,
    }
    outgoing.frame.seq = BigInt(sent.seq)
    this.#ring.set(sent.seq, sent, this.#lowest, sent.seq)
    this.#outstandingBytes += sent.bytes
    this.#inFlightFrames += 1
    this.#inFlightBytes += sent.bytes
    return sent
  }

  /** The lost frame to send next, left lost. */
  peekLost(): SentFrame | undefined {
    if (this.#lostFrames === 0) return undefined
    for (;;) {
      const sent = this.#ring.get(this.#lostFrom)
      if (sent?.status === 'lost') return sent
      this.#lostFrom += 1
    }
  }

  /** Counts the lost frame as in flight again. */
  repeat(sent: SentFrame, nowMs: number): void {
    sent.status = 'in-flight'
    sent.sentAtMs = nowMs
    sent.transmission = ++this.#transmission
    this.#lostFrames -= 1
    this.#repeatedFrames += 1
    this.#inFlightFrames += 1
    this.#inFlightBytes += sent.bytes
  }

  /**
   * Takes what the other side says it has.
   * @throws MeshError FRAME_INVALID when it names frames that were never sent, or the ranges are not ascending with gaps
   *   between them, or are more than 16. Nothing has changed then.
   */
  acknowledge(ackField: bigint, ranges: readonly AckRange[]): Acknowledged {
    const ack = Number(ackField)
    checkRanges(ack, ranges, this.#next - 1)
    let frames = 0
    let youngest: SentFrame | undefined
    const arrived = (sent: SentFrame): void => {
      frames += 1
      if (youngest === undefined || sent.transmission > youngest.transmission) youngest = sent
      this.#release(sent)
    }
    for (; this.#lowest <= ack; this.#lowest++) {
      const sent = this.#ring.get(this.#lowest) as SentFrame
      if (sent.status !== 'held') arrived(sent)
      this.#ring.delete(this.#lowest)
      sent.settlement?.acknowledged()
    }
    if (this.#lostFrom < this.#lowest) this.#lostFrom = this.#lowest
    for (const range of ranges) {
      const last = Number(range.last)
      for (let seq = Math.max(Number(range.first), this.#lowest); seq <= last; seq++) {
        const sent = this.#ring.get(seq) as SentFrame
        if (sent.status === 'held') continue
        arrived(sent)
        sent.status = 'held'
        sent.frame = undefined
        if (seq > this.#highestHeld) this.#highestHeld = seq
      }
    }
    if (this.#highestHeld < this.#lowest) this.#highestHeld = 0
    if (youngest !== undefined && youngest.transmission > this.#arrived) this.#arrived = youngest.transmission
    return { frames, sampleSentAtMs: youngest?.measurable === true ? youngest.sentAtMs : undefined }
  }

  /**
   * Marks frames that were overtaken: by three or more that arrived, or by any for longer than `reorderingMs`.
   * @returns when the next frame will have waited that long; undefined when none is overtaken
   */
  markOvertaken(nowMs: number, reorderingMs: number): number | undefined {
    let nextMs: number | undefined
    for (let seq = this.#lowest; seq < this.#highestHeld; seq++) {
      const sent = this.#ring.get(seq) as SentFrame
      if (sent.status !== 'in-flight' || sent.transmission > this.#arrived) continue
      const dueMs = sent.sentAtMs + reorderingMs
      if (this.#arrived - sent.transmission >= OVERTAKEN_BY || dueMs <= nowMs) this.#markLost(sent)
      else if (nextMs === undefined || dueMs < nextMs) nextMs = dueMs
    }
    return nextMs
  }

  /** Marks everything in flight as lost: a timeout on a path that loses, or a new path. */
  markAllLost(): void {
    for (let seq = this.#lowest; seq < this.#next; seq++) {
      const sent = this.#ring.get(seq) as SentFrame
      if (sent.status === 'in-flight') this.#markLost(sent)
    }
    this.#arrived = this.#transmission
  }

  /** Marks the oldest frames in flight, up to `maxBytes` of them and at least one, and every gap below a held frame. */
  markOldestLost(maxBytes: number): void {
    let bytes = 0
    for (let seq = this.#lowest; seq < this.#next; seq++) {
      const sent = this.#ring.get(seq) as SentFrame
      if (sent.status !== 'in-flight') continue
      bytes += sent.bytes
      if (bytes > maxBytes && bytes > sent.bytes && seq > this.#highestHeld) return
      this.#markLost(sent)
    }
  }

  /**
   * Takes the body out of what channels have outstanding, so that it does not leave again; the numbers stay, because those
   * behind them wait for them. Who waits for it is told the error.
   */
  blank(channels: ReadonlySet<number>, error: MeshError): void {
    for (let seq = this.#lowest; seq < this.#next; seq++) {
      const sent = this.#ring.get(seq) as SentFrame
      const body = sent.frame?.body
      if ((body?.case !== 'data' && body?.case !== 'end') || !channels.has(body.value.channel)) continue
      sent.frame = create(FrameSchema, { seq: BigInt(seq) })
      sent.settlement?.failed(error)
      sent.settlement = undefined
    }
  }

  /** Ends everything outstanding; their settlements are told the error. */
  fail(error: MeshError): void {
    for (; this.#lowest < this.#next; this.#lowest++) {
      const sent = this.#ring.get(this.#lowest) as SentFrame
      this.#ring.delete(this.#lowest)
      sent.settlement?.failed(error)
    }
    this.#outstandingBytes = this.#inFlightFrames = this.#inFlightBytes = this.#lostFrames = 0
  }

  #markLost(sent: SentFrame): void {
    sent.status = 'lost'
    sent.measurable = false
    this.#inFlightFrames -= 1
    this.#inFlightBytes -= sent.bytes
    this.#lostFrames += 1
    if (sent.seq < this.#lostFrom) this.#lostFrom = sent.seq
  }

  #release(sent: SentFrame): void {
    if (sent.status === 'lost') {
      this.#lostFrames -= 1
    } else {
      this.#inFlightFrames -= 1
      this.#inFlightBytes -= sent.bytes
    }
    this.#outstandingBytes -= sent.bytes
  }
}

/** An acknowledgement older than the last one is in order: packets overtake each other. Only the future is not. */
function checkRanges(ack: number, ranges: readonly AckRange[], highestSent: number): void {
  if (ack > highestSent) throw invalidFrame(`Frame ${ack} was acknowledged, ${highestSent} is the last one sent`)
  if (ranges.length > MAX_RANGES) throw invalidFrame(`${ranges.length} acknowledged ranges, at most ${MAX_RANGES}`)
  let previousLast = ack
  for (const range of ranges) {
    const first = Number(range.first)
    const last = Number(range.last)
    if (first <= previousLast + 1 || last < first) {
      throw invalidFrame(`Acknowledged range ${first} to ${last} does not follow a gap after ${previousLast}`)
    }
    previousLast = last
  }
  if (previousLast > highestSent) {
    throw invalidFrame(`Frame ${previousLast} was acknowledged, ${highestSent} is the last one sent`)
  }
}
