import { BoundedQueue, ErrorReason, MeshError } from '@mesh/core'
import { CREDIT_BYTES } from './frame-size.ts'
import { MAX_DATA_BYTES } from './link-limits.ts'
import type { Outgoing } from './outgoing.ts'

// Which frame goes next.
//
//  1. Urgent frames, in order: control frames, openings, resets. They are few, bounded, and wait for no data.
//  2. Credit, at most one frame per channel: it lets the other side go on.
//  3. Data and ends of channels, by flow queueing (RFC 8290 section 4, without its CoDel part): deficit round robin by
//     bytes, and a channel that had nothing to send goes before the busy ones for its first quantum. So a small
//     message waits for at most one frame of bulk, however many bulk channels there are, and bulk shares evenly.

/** Bytes a channel may send per round: one full frame. */
const QUANTUM_BYTES = MAX_DATA_BYTES

/** The sending side of a channel. */
export interface FrameSource {
  /** Whether `nextFrame` would give one if there were room: queued, and allowed by credit. */
  readonly ready: boolean
  /** The next frame of at most `maxBytes`; undefined when it does not fit. Only asked while `ready`. */
  nextFrame(maxBytes: number): Outgoing | undefined
}

/** Makes the frame with a channel's present credit, of CREDIT_BYTES; undefined when there is no news. */
export interface CreditSource {
  creditFrame(): Outgoing | undefined
}

interface Flow {
  readonly source: FrameSource
  deficit: number
}

export class Scheduler {
  readonly #maxUrgentFrames: number
  readonly #urgent: BoundedQueue<Outgoing>
  readonly #credits = new Set<CreditSource>()
  readonly #flows = new Map<FrameSource, Flow>()
  #fresh: Flow[] = []
  #busy: Flow[] = []

  constructor(maxUrgentFrames: number) {
    this.#maxUrgentFrames = maxUrgentFrames
    this.#urgent = new BoundedQueue({ maxItems: maxUrgentFrames, overflow: 'refuse' })
  }

  /** Queues a frame before all data. False when the queue is full. */
  pushUrgent(outgoing: Outgoing): boolean {
    return this.#urgent.push(outgoing)
  }

  /** The error of a link whose urgent frames do not get away. */
  overflow(): MeshError {
    return new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many control frames wait to be sent', {
      limit: 'max_urgent_frames',
      limitValue: this.#maxUrgentFrames,
    })
  }

  /** Notes that the channel has credit to give. */
  pushCredit(source: CreditSource): void {
    this.#credits.add(source)
  }

  /** Notes that the channel has something to send. Harmless when it is known already. */
  activate(source: FrameSource): void {
    if (this.#flows.has(source)) return
    const flow = { source, deficit: QUANTUM_BYTES }
    this.#flows.set(source, flow)
    this.#fresh.push(flow)
  }

  /** Forgets a channel. */
  remove(source: FrameSource & CreditSource): void {
    this.#credits.delete(source)
    const flow = this.#flows.get(source)
    if (flow === undefined) return
    this.#flows.delete(source)
    this.#fresh = this.#fresh.filter((other) => other !== flow)
    this.#busy = this.#busy.filter((other) => other !== flow)
  }

  /** Whether an urgent frame or credit waits. */
  get hasUrgent(): boolean {
    return this.#urgent.length > 0 || this.#credits.size > 0
  }

  /** Whether anything waits that could be sent. */
  get hasFrames(): boolean {
    if (this.hasUrgent) return true
    for (const source of this.#flows.keys()) if (source.ready) return true
    return false
  }

  /** The next urgent frame or credit of at most `maxBytes`. Undefined: none, or it does not fit. */
  nextUrgent(maxBytes: number): Outgoing | undefined {
    const urgent = this.#urgent.peek()
    if (urgent !== undefined) {
      if (urgent.bytes > maxBytes) return undefined
      return this.#urgent.shift()
    }
    // Looked at before the frame is made: one that is made counts as told.
    if (maxBytes < CREDIT_BYTES) return undefined
    for (const source of this.#credits) {
      this.#credits.delete(source)
      const credit = source.creditFrame()
      if (credit !== undefined) return credit
    }
    return undefined
  }

  /** The next frame of a channel, of at most `maxBytes`. Undefined: none, or it does not fit. */
  nextData(maxBytes: number): Outgoing | undefined {
    for (;;) {
      const list = this.#fresh.length > 0 ? this.#fresh : this.#busy
      const flow = list[0]
      if (flow === undefined) return undefined
      if (!flow.source.ready) {
        list.shift()
        // A fresh flow that ran dry waits one round behind the busy ones, or it could stay fresh for ever and starve them.
        if (list === this.#fresh && this.#busy.length > 0) this.#busy.push(flow)
        else this.#flows.delete(flow.source)
      } else if (flow.deficit <= 0) {
        flow.deficit += QUANTUM_BYTES
        list.shift()
        this.#busy.push(flow)
      } else {
        const outgoing = flow.source.nextFrame(maxBytes)
        if (outgoing !== undefined) flow.deficit -= outgoing.bytes
        return outgoing
      }
    }
  }

  /** Everything urgent that was not sent, for the link's end. */
  drainUrgent(): Outgoing[] {
    const left: Outgoing[] = []
    for (let next = this.#urgent.shift(); next !== undefined; next = this.#urgent.shift()) left.push(next)
    this.#credits.clear()
    this.#flows.clear()
    this.#fresh = []
    this.#busy = []
    return left
  }
}
