import { type Clock, ErrorReason, MeshError, type Random, TokenBucket, toHex } from '@mesh/core'
import type { ErrorDetail } from '@mesh/protocol/mesh/signal/v1/error_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { abortError } from '../delay.ts'

/**
 * Envelopes on their way to the server. One settles when the server said what became of it; until then it survives broken
 * streams and is sent again with the same id, which the server takes as the same envelope. The outbox keeps to the session's
 * message rate by itself, so bursts wait here instead of being refused there.
 */

export interface OutgoingEnvelope {
  readonly to: Uint8Array
  readonly topic: Uint8Array
  /** How long the server may hold it for an absent recipient. */
  readonly ttlMs: number
  readonly payload: Uint8Array
}

export interface IdentifiedEnvelope extends OutgoingEnvelope {
  readonly id: Uint8Array
}

export type SendOutcome = 'delivered' | 'held'

interface Entry {
  readonly envelope: IdentifiedEnvelope
  readonly expiresAtMs: number
  readonly settle: (outcome: SendOutcome | MeshError) => void
  notBeforeMs: number
}

/** 512 envelopes of at most 64 KiB would be 32 MiB; 4 MiB is 64 of the largest. */
const MAX_ENVELOPES = 512
const MAX_BYTES = 4 * 1024 * 1024
/** How long an envelope is tried before the sender is told. */
const SEND_TIMEOUT_MS = 30_000
/** Least wait after a refusal that names none. */
const MIN_RETRY_MS = 50
/** Most envelopes in one request (SendMessageRequest). */
const MAX_BATCH = 64
/** Room for ids, keys and field headers of one envelope. */
const ENVELOPE_OVERHEAD_BYTES = 192
/** Of the rate the server allows: what waited on the way arrives closer together than it left. */
const RATE_SHARE = 0.97

/** Bytes of envelopes in one request, where the server says nothing: one of the largest with its overhead, or many small. */
const DEFAULT_BATCH_BYTES = 64 * 1024

export class Outbox {
  readonly #clock: Clock
  readonly #random: Random
  #waiting: Entry[] = []
  readonly #inFlight = new Map<string, Entry>()
  #bytes = 0
  #bucket: TokenBucket | undefined
  #maxBatchBytes = DEFAULT_BATCH_BYTES
  #closed: MeshError | undefined
  readonly #waiters = new Set<() => void>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  get length(): number {
    return this.#waiting.length + this.#inFlight.size
  }

  /** Takes the limits of a new session over. */
  configure(limits: SessionLimits | undefined): void {
    this.#bucket = limits?.messagesPerSecond
      ? new TokenBucket({
          perSecond: limits.messagesPerSecond * RATE_SHARE,
          burst: Math.ceil(limits.messagesBurst * RATE_SHARE),
          clock: this.#clock,
        })
      : undefined
    this.#maxBatchBytes = limits?.maxRequestBytes ? limits.maxRequestBytes - 1024 : DEFAULT_BATCH_BYTES
  }

  /**
   * Queues an envelope, under an id of its own unless it has one. Resolves with what the server did with it; rejects with the server's refusal, with LIMIT_EXCEEDED
   * when the outbox is full, with UNREACHABLE after 30 s without an answer, with ABORTED, or with the error of `close`.
   */
  send(outgoing: OutgoingEnvelope | IdentifiedEnvelope, signal?: AbortSignal): Promise<SendOutcome> {
    const size = outgoing.payload.length
    const refusal = this.#closed ?? this.#fullError(size)
    if (refusal) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal))
      const envelope = 'id' in outgoing ? outgoing : { ...outgoing, id: this.#random.bytes(16) }
      const entry: Entry = {
        envelope,
        expiresAtMs: this.#clock.monotonicMs() + SEND_TIMEOUT_MS,
        notBeforeMs: 0,
        settle: (outcome) => {
          signal?.removeEventListener('abort', onAbort)
          this.#bytes -= size
          if (outcome instanceof MeshError) reject(outcome)
          else resolve(outcome)
        },
      }
      const onAbort = () => {
        this.#remove(entry)
        entry.settle(abortError(signal as AbortSignal))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#bytes += size
      this.#waiting.push(entry)
      this.wake()
    })
  }

  /** The next batch to write, in order; empty when nothing may be sent now. What is taken counts as in flight. */
  take(): IdentifiedEnvelope[] {
    const now = this.#clock.monotonicMs()
    const batch: IdentifiedEnvelope[] = []
    const later: Entry[] = []
    let bytes = 0
    while (this.#waiting.length > 0) {
      const entry = this.#waiting[0] as Entry
      const size = entry.envelope.payload.length + ENVELOPE_OVERHEAD_BYTES
      if (entry.notBeforeMs > now) {
        later.push(this.#waiting.shift() as Entry)
        continue
      }
      if (batch.length >= MAX_BATCH || (batch.length > 0 && bytes + size > this.#maxBatchBytes)) break
      if (this.#bucket && !this.#bucket.take()) break
      this.#waiting.shift()
      this.#inFlight.set(toHex(entry.envelope.id), entry)
      batch.push(entry.envelope)
      bytes += size
    }
    this.#waiting = [...later, ...this.#waiting]
    return batch
  }

  /** Resolves when `take` is worth calling again, or at a `wake` when `other` says so; rejects when aborted. */
  async ready(signal: AbortSignal, other = () => false): Promise<void> {
    while (!this.#isReady() && !other()) {
      const waitMs = this.#msUntilReady()
      await new Promise<void>((resolve) => {
        const timer = waitMs === undefined ? undefined : this.#clock.schedule(waitMs, () => done())
        const done = () => {
          timer?.cancel()
          signal.removeEventListener('abort', done)
          this.#waiters.delete(done)
          resolve()
        }
        this.#waiters.add(done)
        signal.addEventListener('abort', done, { once: true })
        if (signal.aborted) done()
      })
      if (signal.aborted) throw abortError(signal)
    }
  }

  /** Makes whoever waits in `ready` look again. */
  wake(): void {
    for (const wake of [...this.#waiters]) wake()
  }

  /** What the server said of one envelope. */
  settle(id: Uint8Array, status: OutcomeStatus, detail: ErrorDetail | undefined): void {
    const name = toHex(id)
    const entry = this.#inFlight.get(name)
    if (!entry) return
    this.#inFlight.delete(name)
    if (status === OutcomeStatus.DELIVERED) return entry.settle('delivered')
    if (status === OutcomeStatus.HELD) return entry.settle('held')
    const error = detail
      ? MeshError.fromDetail(detail, 'the server refused the envelope')
      : new MeshError(ErrorReason.INTERNAL, 'the server refused the envelope without a reason')
    // The first attempt got through and only its outcome was lost.
    if (error.reason === ErrorReason.DUPLICATE) return entry.settle('delivered')
    if (error.reason !== ErrorReason.LIMIT_EXCEEDED || !error.retryable) return entry.settle(error)
    entry.notBeforeMs = this.#clock.monotonicMs() + Math.max(error.retryAfterMs, MIN_RETRY_MS)
    if (entry.notBeforeMs >= entry.expiresAtMs) return entry.settle(error)
    this.#waiting.push(entry)
    this.wake()
  }

  /** The stream broke: what was in flight goes first on the next one. */
  restart(): void {
    this.#waiting = [...this.#inFlight.values(), ...this.#waiting]
    this.#inFlight.clear()
  }

  /** Fails what waited too long. Called on the client's slow timer and before every reconnect. */
  expire(): void {
    const now = this.#clock.monotonicMs()
    for (const entry of [...this.#inFlight.values(), ...this.#waiting]) {
      if (entry.expiresAtMs > now) continue
      this.#remove(entry)
      entry.settle(
        new MeshError(ErrorReason.UNREACHABLE, `no server took the envelope within ${SEND_TIMEOUT_MS} ms`, {
          retryable: true,
        }),
      )
    }
  }

  /** Fails everything, and whatever comes later. */
  close(error: MeshError): void {
    this.#closed ??= error
    const entries = [...this.#inFlight.values(), ...this.#waiting]
    this.#inFlight.clear()
    this.#waiting = []
    for (const entry of entries) entry.settle(error)
  }

  #fullError(size: number): MeshError | undefined {
    const bytes = this.#bytes + size
    if (this.length >= MAX_ENVELOPES) {
      const facts = { limit: 'outbox_envelopes', limitValue: MAX_ENVELOPES, value: this.length + 1, retryable: true }
      return new MeshError(ErrorReason.LIMIT_EXCEEDED, `outbox is full: ${this.length} envelopes wait`, facts)
    }
    if (bytes <= MAX_BYTES) return undefined
    const facts = { limit: 'outbox_bytes', limitValue: MAX_BYTES, value: bytes, retryable: true }
    return new MeshError(ErrorReason.LIMIT_EXCEEDED, `outbox is full: ${this.#bytes} bytes wait`, facts)
  }

  #remove(entry: Entry): void {
    this.#inFlight.delete(toHex(entry.envelope.id))
    this.#waiting = this.#waiting.filter((other) => other !== entry)
  }

  #isReady(): boolean {
    return this.#waiting.length > 0 && this.#msUntilReady() === 0
  }

  /** Undefined when nothing waits. */
  #msUntilReady(): number | undefined {
    if (this.#waiting.length === 0) return undefined
    const now = this.#clock.monotonicMs()
    const earliestMs = Math.min(...this.#waiting.map((entry) => entry.notBeforeMs)) - now
    return Math.max(0, earliestMs, this.#bucket?.msUntil() ?? 0)
  }
}
