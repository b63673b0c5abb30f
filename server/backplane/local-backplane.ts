import type { Clock, Timer, VerifiedRecord } from '@mesh/core'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ByteKey } from '../byte-key.ts'
import type { Directory, Instant, RecordResult, TopicChange } from '../directory/directory.ts'
import type { Backplane, Departure, MembersView } from './backplane.ts'

/** The backplane of a server that stands alone: its directory, and the timer that expires records in it. */
export class LocalBackplane implements Backplane {
  readonly #directory: Directory
  readonly #clock: Clock
  readonly #watchers = new Set<(change: TopicChange) => void>()
  #onLapsed: (departure: Departure) => void = () => {}
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(directory: Directory, clock: Clock) {
    this.#directory = directory
    this.#clock = clock
  }

  get members(): MembersView {
    return this.#directory
  }

  get isCatchingUp(): boolean {
    return false
  }

  announce(record: VerifiedRecord): RecordResult {
    return this.#publish(this.#directory.announce(record, this.#now()))
  }

  leave(record: VerifiedRecord): RecordResult {
    return this.#publish(this.#directory.leave(record, this.#now()))
  }

  withdraw(topicKey: ByteKey, peer: ByteKey, sessionId: Uint8Array, reason: DepartureReason): void {
    const change = this.#directory.withdraw(topicKey, peer, sessionId, reason, this.#now())
    if (change !== undefined) this.#emit(change)
    this.#arm()
  }

  watch(listener: (change: TopicChange) => void): () => void {
    this.#watchers.add(listener)
    return () => this.#watchers.delete(listener)
  }

  ownSessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined {
    return this.#directory.sessionOf(topicKey, peer)
  }

  send(): boolean {
    return false
  }

  onLapsed(listener: (departure: Departure) => void): void {
    this.#onLapsed = listener
  }

  onEnvelope(): void {
    // Nobody else sends here.
  }

  onOutranked(): void {
    // Nor does a peer of this server have another.
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAtMs = Number.POSITIVE_INFINITY
    this.#watchers.clear()
  }

  #publish(result: RecordResult): RecordResult {
    if (result.change !== undefined) this.#emit(result.change)
    this.#arm()
    return result
  }

  #emit(change: TopicChange): void {
    for (const watcher of this.#watchers) watcher(change)
    if (change.kind === 'left' && change.reason === DepartureReason.EXPIRED) this.#onLapsed(change)
  }

  /** One timer, at the earliest expiry. A deadline that moved later lets it fire once for nothing. */
  #arm(): void {
    const nextMs = this.#directory.nextExpiryMs
    if (nextMs === undefined || nextMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = nextMs
    this.#timer = this.#clock.schedule(Math.max(0, nextMs - this.#clock.monotonicMs()), () => this.#expire())
  }

  #expire(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    for (const change of this.#directory.expire(this.#now())) this.#emit(change)
    this.#arm()
  }

  #now(): Instant {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() }
  }
}
