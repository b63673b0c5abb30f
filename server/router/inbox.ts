import type { Clock, Timer } from '@mesh/core'
import type { RoutedEnvelope } from '../backplane/backplane.ts'
import type { ByteKey } from '../byte-key.ts'
import type { ServerLimits } from '../limits/server-limits.ts'

interface Held {
  readonly envelope: RoutedEnvelope
  /** Monotonic time at which it is dropped. */
  readonly expiresAtMs: number
  readonly timer: Timer
}

/**
 * Envelopes for recipients that are briefly away. Bounded per recipient by count and over all recipients by bytes; what
 * does not fit is refused, what is not fetched within its ttl is dropped. The count does not bound what is owed: a sender was told
 * that it is held, and the queue it was in had its own bound.
 */
export class Inboxes {
  readonly #limits: ServerLimits
  readonly #clock: Clock
  readonly #inboxes = new Map<ByteKey, Set<Held>>()
  /** How many envelopes wait in each topic. */
  readonly #topics = new Map<ByteKey, number>()
  #bytes = 0
  #count = 0

  constructor(limits: ServerLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Envelopes held now. */
  get count(): number {
    return this.#count
  }

  /** Whether something waits for `recipient`, in whatever topic. */
  has(recipient: ByteKey): boolean {
    return this.#inboxes.has(recipient)
  }

  /** Whether something waits for anybody in a topic. */
  hasTopic(topicKey: ByteKey): boolean {
    return this.#topics.has(topicKey)
  }

  /** False when there is no room, or the envelope may not be held. */
  hold(envelope: RoutedEnvelope, isOwed: boolean): boolean {
    const { ttlMs, to, bytes } = envelope
    const inbox = this.#inboxes.get(to)
    const full = inbox !== undefined && inbox.size >= this.#limits.maxHeldMessages && !isOwed
    if (ttlMs <= 0 || full || this.#bytes + bytes.byteLength > this.#limits.maxHeldBytes) return false
    const expiresAtMs = this.#clock.monotonicMs() + ttlMs
    const held: Held = { envelope, expiresAtMs, timer: this.#clock.schedule(ttlMs, () => this.#drop(held)) }
    if (inbox === undefined) this.#inboxes.set(to, new Set([held]))
    else inbox.add(held)
    this.#add(envelope, 1)
    return true
  }

  /** Takes out what waits for `recipient` in one topic, in the order it came, each with the ttl that is left to it. */
  fetch(recipient: ByteKey, topicKey: ByteKey): RoutedEnvelope[] {
    const fetched: RoutedEnvelope[] = []
    for (const held of this.#inboxes.get(recipient) ?? []) {
      if (held.envelope.topicKey !== topicKey) continue
      this.#drop(held)
      fetched.push({ ...held.envelope, ttlMs: Math.ceil(held.expiresAtMs - this.#clock.monotonicMs()) })
    }
    return fetched
  }

  close(): void {
    for (const inbox of this.#inboxes.values()) for (const held of inbox) held.timer.cancel()
    this.#inboxes.clear()
    this.#topics.clear()
    this.#bytes = 0
    this.#count = 0
  }

  #drop(held: Held): void {
    held.timer.cancel()
    const inbox = this.#inboxes.get(held.envelope.to)
    if (inbox?.delete(held) !== true) return
    if (inbox.size === 0) this.#inboxes.delete(held.envelope.to)
    this.#add(held.envelope, -1)
  }

  #add({ topicKey, bytes }: RoutedEnvelope, sign: 1 | -1): void {
    this.#bytes += sign * bytes.byteLength
    this.#count += sign
    const inTopic = (this.#topics.get(topicKey) ?? 0) + sign
    if (inTopic === 0) this.#topics.delete(topicKey)
    else this.#topics.set(topicKey, inTopic)
  }
}
