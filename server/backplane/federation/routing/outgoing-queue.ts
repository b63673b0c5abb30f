import { create } from '@bufbuild/protobuf'
import { BoundedQueue, ErrorReason, MeshError } from '@mesh/core'
import { type Frame, FrameSchema, type Receipt } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import { routedEnvelopeBytes } from '../trunk/frame-size.ts'
import { type Answer, answerOf } from './receipt.ts'

/** An envelope on its way to one other server. */
export interface Attempt {
  readonly number: number
  /** A serialised Envelope. */
  readonly envelope: Uint8Array
  /** Empty for that server itself. */
  readonly destination: Uint8Array
  readonly bytes: number
  /** Called at most once. */
  readonly onAnswer: (answer: Answer) => void
  /** It was handed to the stream: from here on it may have arrived. */
  sent: boolean
}

export interface OutgoingQueueOptions {
  readonly limits: ServerLimits
  /** Largest message the other server takes. */
  readonly maxRequestBytes: number
  /** Attempts are numbered across all streams, so that no receipt can be taken for that of another. */
  readonly nextNumber: () => number
}

/** 64 envelopes are enough to make the cost of a frame small; 256 KiB keep a slow line from holding receipts up for long. */
const MAX_FRAME_ENVELOPES = 64
const MAX_FRAME_ENVELOPE_BYTES = 256 * 1_024

/** Left free in every message for what the session adds to a frame. */
const MESSAGE_MARGIN_BYTES = 4_096

/** Receipts have about 150 bytes at most, so 75 KiB. */
const MAX_FRAME_RECEIPTS = 512

/**
 * What one messages stream carries away: receipts, then envelopes, each kind in its order. Envelopes are kept until they are
 * answered or called off; those are bounded by count and bytes, and what does not fit is refused. Receipts are bounded by count;
 * the oldest gives way, and its envelope is sent again by a server that misses it.
 */
export class OutgoingQueue {
  readonly #options: OutgoingQueueOptions
  readonly #receipts: BoundedQueue<Receipt>
  readonly #waiting = new Map<number, Attempt>()
  readonly #sent = new Map<number, Attempt>()
  #bytes = 0

  constructor(options: OutgoingQueueOptions) {
    this.#options = options
    this.#receipts = new BoundedQueue({ maxItems: options.limits.federationMaxAttempts, overflow: 'drop-oldest' })
  }

  /** Envelopes that wait, or were sent and not answered. */
  get attempts(): number {
    return this.#waiting.size + this.#sent.size
  }

  /** Whether there is room for what this server passes on for others: they get half. */
  get hasRoomForOthers(): boolean {
    const { federationMaxAttempts, federationMaxQueueBytes } = this.#options.limits
    return 2 * this.attempts < federationMaxAttempts && 2 * this.#bytes < federationMaxQueueBytes
  }

  /** Queues an envelope; an error when it does not fit. */
  offer(envelope: Uint8Array, destination: Uint8Array, onAnswer: (answer: Answer) => void): Attempt | MeshError {
    const { federationMaxAttempts, federationMaxQueueBytes } = this.#options.limits
    const bytes = routedEnvelopeBytes(envelope, destination)
    if (bytes > this.#maxFrameBytes)
      return limitError('federationMaxRequestBytes', this.#maxFrameBytes, { value: bytes })
    if (this.attempts >= federationMaxAttempts || this.#bytes + bytes > federationMaxQueueBytes) return tooMany()
    const attempt = { number: this.#options.nextNumber(), envelope, destination, bytes, onAnswer, sent: false }
    this.#waiting.set(attempt.number, attempt)
    this.#bytes += bytes
    return attempt
  }

  /** Forgets an attempt: it is not sent any more, or its answer is not heard. */
  cancel(attempt: Attempt): void {
    if (this.#waiting.delete(attempt.number) || this.#sent.delete(attempt.number)) this.#bytes -= attempt.bytes
  }

  reply(receipt: Receipt): void {
    this.#receipts.push(receipt)
  }

  /** The other server answers. Receipts for what it was not sent, or too late, are ignored. @throws MeshError as `answerOf`. */
  receive(receipt: Receipt): void {
    const answer = answerOf(receipt)
    const attempt = this.#sent.get(Number(receipt.attempt))
    if (attempt === undefined) return
    this.cancel(attempt)
    attempt.onAnswer(answer)
  }

  /** The next frame, undefined when there is nothing to send. */
  next(): Frame | undefined {
    if (this.#receipts.length > 0) {
      const receipts: Receipt[] = []
      for (let receipt = this.#receipts.shift(); receipt !== undefined; receipt = this.#receipts.shift()) {
        receipts.push(receipt)
        if (receipts.length === MAX_FRAME_RECEIPTS) break
      }
      return create(FrameSchema, { frame: { case: 'receipts', value: { receipts } } })
    }
    const envelopes = this.#takeWaiting().map(({ envelope, number, destination }) => {
      return { envelope, attempt: BigInt(number), destination }
    })
    return envelopes.length === 0
      ? undefined
      : create(FrameSchema, { frame: { case: 'envelopes', value: { envelopes } } })
  }

  /** The stream ended: every attempt is lost. */
  close(): void {
    const attempts = [...this.#sent.values(), ...this.#waiting.values()]
    this.#sent.clear()
    this.#waiting.clear()
    for (const { onAnswer } of attempts) onAnswer('lost')
  }

  get #maxFrameBytes(): number {
    return this.#options.maxRequestBytes - MESSAGE_MARGIN_BYTES
  }

  #takeWaiting(): Attempt[] {
    const maxBytes = Math.min(MAX_FRAME_ENVELOPE_BYTES, this.#maxFrameBytes)
    const taken: Attempt[] = []
    let bytes = 0
    for (const attempt of this.#waiting.values()) {
      bytes += attempt.bytes
      if (taken.length === MAX_FRAME_ENVELOPES || (taken.length > 0 && bytes > maxBytes)) break
      taken.push(attempt)
    }
    for (const attempt of taken) {
      this.#waiting.delete(attempt.number)
      this.#sent.set(attempt.number, attempt)
      attempt.sent = true
    }
    return taken
  }
}

function tooMany(): MeshError {
  const message = 'too many envelopes are on their way to the server of the recipient'
  return new MeshError(ErrorReason.RECIPIENT_SLOW, message, { retryAfterMs: 1_000 })
}
