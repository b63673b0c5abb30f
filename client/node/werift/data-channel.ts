import { BoundedQueue, type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { RtcDataChannel } from '../../connection/rtc.ts'
import { Listeners } from './listeners.ts'
import { type InboundMessage, MAX_MESSAGE_BYTES } from './sctp-inbound.ts'
import type { OutboundMessage, OutboundStream } from './sctp-outbound.ts'
import type { WeriftDataChannelCore } from './werift-internals.ts'

/**
 * A data channel as the W3C describes it, over werift's.
 *
 * werift's own sends an empty message that the other side never finishes reading, ignores `binaryType`, is silent when it is
 * sent to after closing, loses what is queued when it closes, corrupts labels that are not ASCII, counts `bufferedAmount` in
 * steps that say nothing, and may open before anybody can listen. This one keeps its own queue, gives the association one
 * message at a time, and uses werift's only for its state and for the stream reset.
 */
export interface DataChannelOptions {
  readonly id: number
  readonly ordered: boolean
  readonly core: WeriftDataChannelCore
  readonly clock: Clock
  readonly log: (message: string, detail?: unknown) => void
  /** Something waits to be sent. */
  readonly wake: () => void
  /** Whether everything handed over has reached the peer. */
  readonly isDrained: () => boolean
}

interface ChannelEvents extends Record<string, unknown> {
  open: undefined
  close: undefined
  bufferedamountlow: undefined
  message: { readonly data: ArrayBuffer | string }
  error: unknown
}

/** Payload protocol identifiers (RFC 8831 section 8). */
const STRING = 51
const BINARY = 53

/** 16 MiB, as in Chromium: 256 messages of the maximum size. */
const MAX_BUFFERED_BYTES = 16_777_216
/** As many as fill the above with the smallest useful frames of 256 bytes. */
const MAX_BUFFERED_MESSAGES = 65_536
/** A peer that has stopped acknowledging must not keep a closing channel: three retransmissions. */
const DRAIN_MS = 5000

export class WeriftDataChannel implements RtcDataChannel, OutboundStream {
  readonly id: number
  readonly ordered: boolean
  readonly #options: DataChannelOptions
  readonly #listeners: Listeners<ChannelEvents>
  readonly #queue = new BoundedQueue<OutboundMessage>({
    maxItems: MAX_BUFFERED_MESSAGES,
    maxBytes: MAX_BUFFERED_BYTES,
    sizeOf: (message) => message.data.length,
    overflow: 'refuse',
  })
  #state: RtcDataChannel['readyState'] = 'connecting'
  #bufferedBytes = 0
  #lowThreshold = 0
  #drainTimer: Timer | undefined

  constructor(options: DataChannelOptions) {
    this.id = options.id
    this.ordered = options.ordered
    this.#options = options
    this.#listeners = new Listeners((error) => options.log('A data channel listener threw', error))
    options.core.stateChange.subscribe((state) => {
      if (state === 'open') this.#open()
      else if (state === 'closed') this.closeNow(true)
    })
    // On a standing association werift opens the channel before its constructor returns; listeners come later.
    if (options.core.readyState === 'open') queueMicrotask(() => this.#open())
  }

  get readyState(): RtcDataChannel['readyState'] {
    return this.#state
  }

  get bufferedAmount(): number {
    return this.#bufferedBytes
  }

  get bufferedAmountLowThreshold(): number {
    return this.#lowThreshold
  }

  set bufferedAmountLowThreshold(bytes: number) {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes >= 2 ** 32) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        `bufferedAmountLowThreshold must be 0 to 2^32 - 1, got ${bytes}`,
      )
    }
    this.#lowThreshold = bytes
  }

  get binaryType(): string {
    return 'arraybuffer'
  }

  /** Only 'arraybuffer': a Blob would make every message wait for a promise. */
  set binaryType(type: string) {
    if (type !== 'arraybuffer') {
      throw new MeshError(ErrorReason.NOT_SUPPORTED, `binaryType '${type}' is not supported, only 'arraybuffer'`)
    }
  }

  /**
   * Queues one binary message; the bytes are copied.
   * @throws MeshError CHANNEL_CLOSED unless open; INVALID_ARGUMENT when empty; MESSAGE_TOO_LARGE above 64 KiB; LIMIT_EXCEEDED
   *   when 16 MiB are waiting.
   */
  send(data: Uint8Array): void {
    // The bytes wait, and W3C lets the caller reuse its buffer at once.
    this.sendOwned(data.slice())
  }

  /** As `send`, but the bytes belong to the channel from now on. */
  sendOwned(data: Uint8Array): void {
    if (this.#state !== 'open') {
      throw new MeshError(ErrorReason.CHANNEL_CLOSED, `The data channel is ${this.#state}, not open`)
    }
    if (data.length === 0) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'A message must not be empty')
    if (data.length > MAX_MESSAGE_BYTES) {
      throw new MeshError(ErrorReason.MESSAGE_TOO_LARGE, `A message of ${data.length} bytes is too large`, {
        limit: 'max_message_bytes',
        limitValue: MAX_MESSAGE_BYTES,
        value: data.length,
      })
    }
    if (!this.#queue.push({ protocol: BINARY, data: Buffer.from(data.buffer, data.byteOffset, data.length) })) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too much is waiting to be sent on this data channel', {
        limit: 'max_buffered_bytes',
        limitValue: MAX_BUFFERED_BYTES,
        value: this.#bufferedBytes + data.length,
        retryable: true,
      })
    }
    this.#bufferedBytes += data.length
    this.#options.wake()
  }

  /** Sends what is queued, then closes. 'close' follows when both sides are done, after 5 s at the latest. Idempotent. */
  close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const wasOpen = this.#state === 'open'
    this.#state = 'closing'
    if (!wasOpen) {
      this.#options.core.close()
      return
    }
    this.#drainTimer = this.#options.clock.schedule(DRAIN_MS, () => this.closeNow(true))
    this.progress()
  }

  addEventListener(type: 'open' | 'close' | 'bufferedamountlow', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'error', listener: (event: unknown) => void): void
  addEventListener(type: keyof ChannelEvents & string, listener: (event: never) => void): void {
    this.#listeners.add(type, listener as (event: unknown) => void)
  }

  removeEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.remove(type, listener as (event: unknown) => void)
  }

  /** For the association: the next message. */
  takeMessage(): OutboundMessage | undefined {
    return this.#queue.shift()
  }

  /** For the association: bytes that are on the network now. */
  handed(bytes: number): void {
    const before = this.#bufferedBytes
    this.#bufferedBytes = Math.max(0, before - bytes)
    // Later, because a listener usually sends, and this is called in the middle of sending.
    if (before > this.#lowThreshold && this.#bufferedBytes <= this.#lowThreshold) {
      queueMicrotask(() => {
        if (this.#state === 'open') this.#listeners.emit('bufferedamountlow', undefined)
      })
    }
  }

  /** For the association: a message of this channel. */
  receive(message: InboundMessage): void {
    if (this.#state !== 'open' && this.#state !== 'closing') return
    const { protocol, data } = message
    if (protocol === BINARY) this.#listeners.emit('message', { data: data.buffer })
    else if (protocol === STRING) this.#listeners.emit('message', { data: Buffer.from(data.buffer).toString('utf8') })
    // The other identifiers carry nothing (empty messages) or open channels in band; neither is used here.
  }

  /** For the connection: an acknowledgement came. */
  progress(): void {
    if (this.#state !== 'closing' || this.#queue.length > 0 || !this.#options.isDrained()) return
    if (this.#options.core.readyState === 'open') this.#options.core.close()
  }

  /** For the connection: the end, whatever is queued. `announce`: with a 'close' event. */
  closeNow(announce: boolean): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#drainTimer?.cancel()
    this.#queue.clear()
    this.#bufferedBytes = 0
    if (announce) this.#listeners.emit('close', undefined)
  }

  #open(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.#listeners.emit('open', undefined)
  }
}
