import { create } from '@bufbuild/protobuf'
import { BoundedQueue, ErrorReason, MeshError } from '@mesh/core'
import {
  type ChannelData,
  ChannelDataSchema,
  ChannelEndSchema,
  ChannelKind,
  FrameSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { invalidFrame } from '../frame-check.ts'
import { DATA_OVERHEAD_BYTES, END_BYTES } from '../frame-size.ts'
import { type LinkLimits, MAX_DATA_BYTES } from '../link-limits.ts'
import type { Outgoing, Settlement } from '../outgoing.ts'
import type { FrameSource } from '../scheduler.ts'

// The sending half of a channel: what the application queued, cut into frames as the scheduler asks for them and as
// the other side's credit allows.
//
// Messages are cut without copying. Bytes are gathered: what was written in small pieces leaves in full frames.

/** A message is not split for less room than this in a packet; it waits for the next one. */
const MIN_PIECE_BYTES = 4_096

/** One queued message or chunk. */
interface Item {
  bytes: Uint8Array
  /** Bytes of it that have left. */
  sent: number
  readonly settlement: Settlement | undefined
  /** Taken back before any of it left. */
  withdrawn: boolean
}

/** A queued message, to take it back. */
export interface QueuedMessage {
  /** Takes the message back. False: a part of it has left, so the rest follows. */
  withdraw(): boolean
}

export class Outbox implements FrameSource {
  readonly #channel: number
  readonly #kind: ChannelKind
  readonly #limits: LinkLimits
  readonly #queue: BoundedQueue<Item>
  #queuedBytes = 0
  /** Total bytes the other side takes, and that have left (ChannelCredit.credit). */
  #credit: number
  #sentBytes = 0
  #end: 'open' | 'queued' | 'sent' = 'open'
  #endSettlement: Settlement | undefined
  #room: (() => void) | undefined

  constructor(channel: number, kind: ChannelKind, credit: number, limits: LinkLimits) {
    this.#channel = channel
    this.#kind = kind
    this.#credit = credit
    this.#limits = limits
    this.#queue = new BoundedQueue({
      maxItems: limits.maxQueuedMessages,
      maxBytes: limits.maxQueuedBytes,
      sizeOf: (item) => item.bytes.length,
      overflow: 'refuse',
    })
  }

  /** Bytes that have not left. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }
  /** Whether nothing more may be queued. */
  get ended(): boolean {
    return this.#end !== 'open'
  }
  /** Whether the end has left: this direction is over. */
  get finished(): boolean {
    return this.#end === 'sent'
  }
  /** Whether nothing waits to leave. */
  get idle(): boolean {
    return this.#end !== 'queued' && this.#head() === undefined
  }

  get ready(): boolean {
    const head = this.#head()
    if (head === undefined) return this.#end === 'queued'
    return head.bytes.length === 0 || this.#credit > this.#sentBytes
  }

  /**
   * Queues a message (MESSAGES, REQUEST) or a chunk (BYTES), which must stay unchanged until it has left, a message
   * until it was acknowledged.
   * @throws MeshError LIMIT_EXCEEDED when the queue is full
   */
  push(bytes: Uint8Array, settlement?: Settlement): QueuedMessage {
    const item: Item = { bytes, sent: 0, settlement, withdrawn: false }
    if (!this.#queue.push(item)) {
      const { maxQueuedBytes, maxQueuedMessages } = this.#limits
      const full = this.#queue.length >= maxQueuedMessages
      throw new MeshError(
        ErrorReason.LIMIT_EXCEEDED,
        `The channel has ${this.#queue.length} messages of ${this.#queuedBytes} bytes queued; await earlier ones`,
        full
          ? { limit: 'max_queued_messages', limitValue: maxQueuedMessages, retryable: true }
          : { limit: 'max_queued_bytes', limitValue: maxQueuedBytes, value: bytes.length, retryable: true },
      )
    }
    this.#queuedBytes += bytes.length
    if (this.#kind === ChannelKind.REQUEST) this.#end = 'queued'
    return { withdraw: () => this.#withdraw(item) }
  }

  /** Nothing more follows after what is queued. */
  end(settlement?: Settlement): void {
    this.#end = 'queued'
    this.#endSettlement = settlement
  }

  /**
   * Takes a ChannelCredit.
   * @throws MeshError FRAME_INVALID when it falls
   */
  grant(credit: number): void {
    if (credit < this.#credit) throw invalidFrame(`ChannelCredit fell from ${this.#credit} to ${credit}`)
    this.#credit = credit
  }

  /** Calls back once, when less than `maxStreamQueueBytes` wait to leave; at once if that is so now. */
  whenRoom(run: () => void): void {
    if (this.#queuedBytes < this.#limits.maxStreamQueueBytes) run()
    else this.#room = run
  }

  nextFrame(maxBytes: number): Outgoing | undefined {
    const head = this.#head()
    if (head === undefined) return maxBytes < END_BYTES ? undefined : this.#endFrame()
    const room = Math.min(MAX_DATA_BYTES, maxBytes - DATA_OVERHEAD_BYTES, this.#credit - this.#sentBytes)
    const outgoing = this.#kind === ChannelKind.BYTES ? this.#gather(room, maxBytes) : this.#piece(head, room, maxBytes)
    if (this.#queuedBytes < this.#limits.maxStreamQueueBytes) this.#tellRoom()
    return outgoing
  }

  /** Drops everything that has not left; who waits for it is told. */
  fail(error: MeshError): void {
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      if (!item.withdrawn) item.settlement?.failed(error)
    }
    if (this.#end === 'queued') this.#endSettlement?.failed(error)
    this.#end = 'sent'
    this.#queuedBytes = 0
    this.#tellRoom()
  }

  /** The rest of a message if it fits, else a piece worth the split. */
  #piece(item: Item, room: number, maxBytes: number): Outgoing | undefined {
    const left = item.bytes.length - item.sent
    if (room < 0 || (left > room && tooSmallToSplit(room, maxBytes))) return undefined
    const size = Math.min(left, room)
    const data = size === item.bytes.length ? item.bytes : item.bytes.subarray(item.sent, item.sent + size)
    item.sent += size
    const last = item.sent === item.bytes.length
    if (last) this.#queue.shift()
    if (last && this.#kind === ChannelKind.REQUEST) this.#end = 'sent'
    return this.#dataFrame(data, last, last ? item.settlement : undefined)
  }

  /** As many queued bytes as there is room for, in one frame. */
  #gather(room: number, maxBytes: number): Outgoing | undefined {
    const size = Math.min(room, this.#queuedBytes)
    if (size <= 0 || (this.#queuedBytes > size && tooSmallToSplit(room, maxBytes))) return undefined
    const first = this.#head() as Item
    if (first.bytes.length - first.sent >= size) return this.#dataFrame(this.#cut(first, size), false, undefined)
    const data = new Uint8Array(size)
    for (let filled = 0; filled < size; ) {
      const item = this.#head() as Item
      const part = this.#cut(item, Math.min(size - filled, item.bytes.length - item.sent))
      data.set(part, filled)
      filled += part.length
    }
    return this.#dataFrame(data, false, undefined)
  }

  #tellRoom(): void {
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  #cut(item: Item, size: number): Uint8Array {
    const part = item.bytes.subarray(item.sent, item.sent + size)
    item.sent += size
    if (item.sent === item.bytes.length) this.#queue.shift()
    return part
  }

  #dataFrame(data: Uint8Array, endOfMessage: boolean, settlement: Settlement | undefined): Outgoing {
    this.#sentBytes += data.length
    this.#queuedBytes -= data.length
    const value: ChannelData = create(ChannelDataSchema, { channel: this.#channel, data, endOfMessage })
    const frame = create(FrameSchema, { body: { case: 'data', value } })
    return { frame, bytes: data.length + DATA_OVERHEAD_BYTES, settlement }
  }

  #endFrame(): Outgoing {
    this.#end = 'sent'
    const value = create(ChannelEndSchema, { channel: this.#channel })
    const frame = create(FrameSchema, { body: { case: 'end', value } })
    return { frame, bytes: END_BYTES, settlement: this.#endSettlement }
  }

  /** The oldest item that was not taken back. */
  #head(): Item | undefined {
    for (;;) {
      const item = this.#queue.peek()
      if (item === undefined || !item.withdrawn) return item
      this.#queue.shift()
    }
  }

  #withdraw(item: Item): boolean {
    if (item.sent > 0 || item.withdrawn) return false
    item.withdrawn = true
    this.#queuedBytes -= item.bytes.length
    // Its place in the queue stays until it is first in line; its memory does not.
    item.bytes = new Uint8Array()
    if (this.#kind === ChannelKind.REQUEST) this.#end = 'open'
    return true
  }
}

/** Whether only the end of a packet is left. Little credit is no reason to wait: more may depend on using it. */
function tooSmallToSplit(room: number, maxBytes: number): boolean {
  return room === maxBytes - DATA_OVERHEAD_BYTES && room < MIN_PIECE_BYTES
}
