import { BoundedQueue, ErrorReason, MeshError } from '@mesh/core'
import {
  EnvelopesSchema,
  type Frame,
  FrameSchema,
  type Receipt,
  ReceiptsSchema,
  RoutedEnvelopeSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import { routedEnvelopeBytes } from '../trunk/frame-size.ts'
import { AttemptTable } from './attempt-table.ts'
import { type Answer, answerOf } from './receipt.ts'

/** An envelope on its way to one other server. */
export class Attempt {
  readonly number: number
  /** A serialised Envelope. */
  readonly envelope: Uint8Array
  /** Empty for that server itself. */
  readonly destination: Uint8Array
  readonly bytes: number
  /** Called at most once. */
  readonly onAnswer: (answer: Answer) => void
  /** It was handed to the stream: from here on it may have arrived. */
  sent = false

  constructor(number: number, envelope: Uint8Array, destination: Uint8Array, onAnswer: (answer: Answer) => void) {
    this.number = number
    this.envelope = envelope
    this.destination = destination
    this.bytes = routedEnvelopeBytes(envelope, destination)
    this.onAnswer = onAnswer
  }
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
  /** Those that wait and those that were sent. */
  readonly #attempts = new AttemptTable<Attempt>()
  /** Those that wait, in their order. */
  #waiting: Attempt[] = []
  #bytes = 0

  constructor(options: OutgoingQueueOptions) {
    this.#options = options
    this.#receipts = new BoundedQueue({ maxItems: options.limits.federationMaxAttempts, overflow: 'drop-oldest' })
  }

  /** Envelopes that wait, or were sent and not answered. */
  get attempts(): number {
    return this.#attempts.size
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
    const attempt = new Attempt(this.#options.nextNumber(), envelope, destination, onAnswer)
    this.#attempts.add(attempt)
    this.#waiting.push(attempt)
    this.#bytes += bytes
    return attempt
  }

  /** Forgets an attempt: it is not sent any more, or its answer is not heard. */
  cancel(attempt: Attempt): void {
    if (!this.#attempts.delete(attempt.number)) return
    this.#bytes -= attempt.bytes
    // The oldest are called off first.
    if (!attempt.sent) this.#waiting.splice(this.#waiting.indexOf(attempt), 1)
  }

  reply(receipt: Receipt): void {
    this.#receipts.push(receipt)
  }

  /** The other server answers. Receipts for what it was not sent, or too late, are ignored. @throws MeshError as `answerOf`. */
  receive(receipt: Receipt): void {
    const answer = answerOf(receipt)
    const attempt = this.#attempts.get(Number(receipt.attempt))
    if (attempt?.sent !== true) return
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
      const value = { $typeName: ReceiptsSchema.typeName, receipts }
      return { $typeName: FrameSchema.typeName, frame: { case: 'receipts', value } }
    }
    const taken = this.#takeWaiting()
    if (taken.length === 0) return undefined
    // Literals here and above: `create` takes as long as everything else that is done for an envelope.
    const envelopes = taken.map(({ envelope, number, destination }) => {
      return { $typeName: RoutedEnvelopeSchema.typeName, envelope, attempt: BigInt(number), destination }
    })
    const value = { $typeName: EnvelopesSchema.typeName, envelopes }
    return { $typeName: FrameSchema.typeName, frame: { case: 'envelopes', value } }
  }

  /** The stream ended: every attempt is lost. */
  close(): void {
    const attempts = this.#attempts.takeAll()
    this.#waiting = []
    for (const { onAnswer } of attempts) onAnswer('lost')
  }

  get #maxFrameBytes(): number {
    return this.#options.maxRequestBytes - MESSAGE_MARGIN_BYTES
  }

  #takeWaiting(): Attempt[] {
    const maxBytes = Math.min(MAX_FRAME_ENVELOPE_BYTES, this.#maxFrameBytes)
    let count = 0
    let bytes = 0
    for (const attempt of this.#waiting) {
      bytes += attempt.bytes
      if (count === MAX_FRAME_ENVELOPES || (count > 0 && bytes > maxBytes)) break
      attempt.sent = true
      count += 1
    }
    return this.#waiting.splice(0, count)
  }
}

function tooMany(): MeshError {
  const message = 'too many envelopes are on their way to the server of the recipient'
  return new MeshError(ErrorReason.RECIPIENT_SLOW, message, { retryAfterMs: 1_000 })
}
