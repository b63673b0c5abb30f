import { type Clock, TokenBucket } from '@mesh/core'
import type { FederationLimits, Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'

/** What rates count in a frame: rows of a log, and envelopes. Pages of a snapshot are bounded by the rows of an origin. */
export function rowsLogged({ frame }: Frame): number {
  return frame.case === 'rows' && frame.value.snapshot === undefined ? frame.value.rows.length : 0
}

export function envelopesSent({ frame }: Frame): number {
  return frame.case === 'envelopes' ? frame.value.envelopes.length : 0
}

/** Longest advice to wait: a frame that never fits is not worth a longer one. */
const MAX_RETRY_MS = 60_000

/** What one other server may send, on whatever stream: a new stream is no new quota. */
export class ServerQuota {
  readonly #limits: ServerLimits
  readonly #rows: TokenBucket
  readonly #envelopes: TokenBucket

  constructor(limits: ServerLimits, clock: Clock) {
    this.#limits = limits
    const { federationRecordsPerSecond, federationRecordsBurst } = limits
    const { federationMessagesPerSecond, federationMessagesBurst } = limits
    this.#rows = new TokenBucket({ perSecond: federationRecordsPerSecond, burst: federationRecordsBurst, clock })
    this.#envelopes = new TokenBucket({ perSecond: federationMessagesPerSecond, burst: federationMessagesBurst, clock })
  }

  /** Counts a frame. @throws MeshError LIMIT_EXCEEDED naming the rate, with the time after which it would have passed. */
  take(frame: Frame): void {
    this.#take(this.#rows, rowsLogged(frame), 'federationRecordsPerSecond')
    this.#take(this.#envelopes, envelopesSent(frame), 'federationMessagesPerSecond')
  }

  #take(bucket: TokenBucket, count: number, name: 'federationRecordsPerSecond' | 'federationMessagesPerSecond'): void {
    if (count === 0 || bucket.take(count)) return
    const retryAfterMs = Math.max(1, Math.min(MAX_RETRY_MS, bucket.msUntil(count)))
    throw limitError(name, this.#limits[name], { value: count, retryAfterMs })
  }
}

/** A sender keeps to nine tenths of what the other allows: clocks differ, and what waited on the line arrives in a heap. */
const SHARE = 0.9

/** What may go at once after a rest. */
const BURST_MS = 250

/**
 * Keeps what is sent within the rates that the other server announced, so that a server that behaves is never refused.
 * It counts what went, as the size of a frame is known only once it is there: the next one waits for it.
 */
export class SendPace {
  readonly #clock: Clock
  readonly #msPerRow: number
  readonly #msPerEnvelope: number
  #readyAtMs = Number.NEGATIVE_INFINITY

  constructor({ recordsPerSecond, messagesPerSecond }: FederationLimits, clock: Clock) {
    this.#clock = clock
    this.#msPerRow = 1_000 / (recordsPerSecond * SHARE)
    this.#msPerEnvelope = 1_000 / (messagesPerSecond * SHARE)
  }

  /** Milliseconds until the next frame may go; 0 for now. */
  get waitMs(): number {
    return Math.max(0, Math.ceil(this.#readyAtMs - this.#clock.monotonicMs()))
  }

  /** A frame went. */
  count(frame: Frame): void {
    const costMs = rowsLogged(frame) * this.#msPerRow + envelopesSent(frame) * this.#msPerEnvelope
    if (costMs === 0) return
    this.#readyAtMs = Math.max(this.#readyAtMs, this.#clock.monotonicMs() - BURST_MS) + costMs
  }
}
