import { BoundedQueue, ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { invalidFrame } from '../frame-check.ts'
import { INITIAL_CREDIT_BYTES, type LinkLimits } from '../link-limits.ts'
import { retained } from '../retained.ts'
import { Chunks } from './chunks.ts'

// The receiving half of a channel: pieces become messages, messages wait for the reader, and the reader's progress
// becomes the other side's credit.
//
// Credit is told as a total from the channel's start: what the reader has taken, plus a window. The window doubles
// while the reader keeps up, from 256 KiB to at most maxChannelWindowBytes. A message longer than the window could
// never arrive under that rule alone, so the pieces of the message that is next for the reader count as taken: a
// channel holds at most one long message and one window.
//
// Datagrams know no credit: where the reader is too slow for them, the oldest are dropped.

/** Bytes of incomplete or unread long messages, of all channels of a link. */
export interface ReassemblyBudget {
  bytes: number
}

export class Inbox {
  readonly #kind: ChannelKind
  readonly #limits: LinkLimits
  readonly #budget: ReassemblyBudget
  /** Whole messages (MESSAGES, REQUEST), or datagrams. */
  readonly #messages: BoundedQueue<Uint8Array>
  /** Unread bytes (BYTES), or the pieces of the message that is arriving. */
  readonly #chunks = new Chunks()
  #receivedBytes = 0
  #takenBytes = 0
  #windowBytes = INITIAL_CREDIT_BYTES
  /** What the other side was told, or starts from. */
  #credit = INITIAL_CREDIT_BYTES
  #ended = false
  #hadMessage = false

  constructor(kind: ChannelKind, limits: LinkLimits, budget: ReassemblyBudget) {
    this.#kind = kind
    this.#limits = limits
    this.#budget = budget
    this.#messages =
      kind === ChannelKind.DATAGRAMS
        ? new BoundedQueue({ maxItems: limits.maxUnreadDatagrams, overflow: 'drop-oldest' })
        : new BoundedQueue({ maxItems: limits.maxUnreadMessages, overflow: 'refuse' })
  }

  /** Whether the other side's direction is over. What is unread can still be taken. */
  get ended(): boolean {
    return this.#ended
  }
  /** Whether a message or chunk waits for the reader. */
  get readable(): boolean {
    return this.#kind === ChannelKind.BYTES ? this.#chunks.bytes > 0 : this.#messages.length > 0
  }

  /**
   * Takes a ChannelData.
   * @returns true when a message or chunk has become readable
   * @throws MeshError FRAME_INVALID (ends the link): credit overdrawn, data after the end, an empty piece, an end of
   *   message among bytes; MESSAGE_TOO_LARGE or LIMIT_EXCEEDED (ends the channel)
   */
  receive(data: Uint8Array, endOfMessage: boolean): boolean {
    if (this.#ended) throw invalidFrame('ChannelData after the end of its direction')
    if (this.#kind === ChannelKind.DATAGRAMS) throw invalidFrame('ChannelData on a channel of datagrams')
    this.#receivedBytes += data.length
    if (this.#receivedBytes > this.#credit) {
      throw invalidFrame(`ChannelData up to byte ${this.#receivedBytes}, credit was ${this.#credit}`)
    }
    if (this.#kind === ChannelKind.BYTES) {
      if (endOfMessage) throw invalidFrame('ChannelData.end_of_message on a channel of bytes')
      this.#chunks.append(data)
      return true
    }
    if (data.length === 0 && this.#chunks.bytes > 0) throw invalidFrame('An empty piece of a longer message')
    if (!endOfMessage) {
      this.#keepPiece(data)
      return false
    }
    this.#queueForReader(this.#chunks.bytes === 0 ? retained(data) : this.#complete(data))
    if (this.#kind === ChannelKind.REQUEST) this.#ended = true
    return true
  }

  /**
   * Takes a Datagram; one that comes after the end is dropped.
   * @throws MeshError FRAME_INVALID on a channel of another kind
   */
  receiveDatagram(data: Uint8Array): void {
    if (this.#kind !== ChannelKind.DATAGRAMS) throw invalidFrame('Datagram on a channel of another kind')
    if (!this.#ended) this.#messages.push(retained(data))
  }

  /**
   * Takes a ChannelEnd.
   * @throws MeshError FRAME_INVALID within a message, or a second time
   */
  end(): void {
    // A REQUEST direction ends with its message; saying so again is harmless.
    if (this.#ended && !(this.#kind === ChannelKind.REQUEST && this.#hadMessage)) {
      throw invalidFrame('ChannelEnd after the end of its direction')
    }
    if (this.#arrivingBytes > 0) throw invalidFrame('ChannelEnd within a message')
    this.#ended = true
  }

  /** The next message or chunk for the reader. */
  take(): Uint8Array | undefined {
    const bytes = this.#kind === ChannelKind.BYTES ? this.#chunks.shift() : this.#messages.shift()
    if (bytes === undefined) return undefined
    this.#takenBytes += bytes.length
    if (this.#isLong(bytes)) this.#budget.bytes -= bytes.length
    return bytes
  }

  /**
   * The credit to tell the other side, when it has become worth a frame: a quarter of the window. Undefined otherwise,
   * and when the direction is over.
   */
  creditDue(): number | undefined {
    if (this.#ended || this.#kind === ChannelKind.DATAGRAMS) return undefined
    return this.#target() - this.#credit >= this.#windowBytes / 4 ? this.#target() : undefined
  }

  /** Notes that the credit given by `creditDue` is being told. */
  creditTold(credit: number): void {
    this.#credit = credit
    if (!this.readable) {
      this.#windowBytes = Math.min(this.#windowBytes * 2, this.#limits.maxChannelWindowBytes)
    }
  }

  /** Ends the direction without a message. `discard`: what is unread goes too. */
  close(discard: boolean): void {
    this.#ended = true
    if (this.#kind !== ChannelKind.BYTES) {
      this.#budget.bytes -= this.#chunks.bytes
      this.#chunks.clear()
    }
    if (discard) while (this.take() !== undefined);
  }

  /** Bytes of the message that is arriving. */
  get #arrivingBytes(): number {
    return this.#kind === ChannelKind.BYTES ? 0 : this.#chunks.bytes
  }

  #target(): number {
    return this.#takenBytes + this.#windowBytes + (this.readable ? 0 : this.#arrivingBytes)
  }

  #queueForReader(bytes: Uint8Array): void {
    this.#hadMessage = true
    if (this.#messages.push(bytes)) return
    throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many messages wait for the reader of the channel', {
      limit: 'max_unread_messages',
      limitValue: this.#limits.maxUnreadMessages,
    })
  }

  #keepPiece(data: Uint8Array): void {
    this.#chunks.append(data)
    this.#budget.bytes += data.length
    this.#checkSize(this.#chunks.bytes)
    if (this.#budget.bytes > this.#limits.maxReassemblyBytes) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many long messages at once on the link', {
        limit: 'max_reassembly_bytes',
        limitValue: this.#limits.maxReassemblyBytes,
        value: this.#budget.bytes,
        retryable: true,
      })
    }
  }

  #complete(last: Uint8Array): Uint8Array {
    this.#checkSize(this.#chunks.bytes + last.length)
    this.#budget.bytes -= this.#chunks.bytes
    this.#chunks.append(last)
    const message = this.#chunks.takeAll()
    if (this.#isLong(message)) this.#budget.bytes += message.length
    return message
  }

  /** Long messages count against the link's budget until they are read; shorter ones are bounded by credit. */
  #isLong(bytes: Uint8Array): boolean {
    return this.#kind !== ChannelKind.BYTES && bytes.length > INITIAL_CREDIT_BYTES
  }

  #checkSize(bytes: number): void {
    const { maxMessageBytes } = this.#limits
    if (bytes <= maxMessageBytes) return
    throw new MeshError(ErrorReason.MESSAGE_TOO_LARGE, `A message of more than ${maxMessageBytes} bytes arrived`, {
      limit: 'max_message_bytes',
      limitValue: maxMessageBytes,
      value: bytes,
    })
  }
}
