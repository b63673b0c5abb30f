import type { Clock, Timer } from '@mesh/core'
import type { RoutedEnvelope } from '../backplane/backplane.ts'
import type { ByteKey } from '../byte-key.ts'
import type { ServerLimits } from '../limits/server-limits.ts'

interface Held {
  readonly envelope: RoutedEnvelope
  readonly timer: Timer
}

/**
 * Envelopes for recipients that are briefly away. Bounded per recipient by count and over all recipients by bytes; what
 * does not fit is refused, what is not fetched within its ttl is dropped.
 */
export class Inboxes {
  readonly #limits: ServerLimits
  readonly #clock: Clock
  readonly #inboxes = new Map<ByteKey, Set<Held>>()
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

  /** False when there is no room. */
  hold(envelope: RoutedEnvelope): boolean {
    const inbox = this.#inboxes.get(envelope.to)
    const full = inbox !== undefined && inbox.size >= this.#limits.maxHeldMessages
    if (full || this.#bytes + envelope.body.byteLength > this.#limits.maxHeldBytes) return false
    const held: Held = { envelope, timer: this.#clock.schedule(envelope.ttlMs, () => this.#drop(held)) }
    if (inbox === undefined) this.#inboxes.set(envelope.to, new Set([held]))
    else inbox.add(held)
    this.#bytes += envelope.body.byteLength
    this.#count += 1
    return true
  }

  /** Takes out what waits for `recipient` in one topic, in the order it came. */
  fetch(recipient: ByteKey, topicKey: ByteKey): RoutedEnvelope[] {
    const fetched: RoutedEnvelope[] = []
    for (const held of this.#inboxes.get(recipient) ?? []) {
      if (held.envelope.topicKey !== topicKey) continue
      this.#drop(held)
      fetched.push(held.envelope)
    }
    return fetched
  }

  close(): void {
    for (const inbox of this.#inboxes.values()) for (const held of inbox) held.timer.cancel()
    this.#inboxes.clear()
    this.#bytes = 0
    this.#count = 0
  }

  #drop(held: Held): void {
    held.timer.cancel()
    const inbox = this.#inboxes.get(held.envelope.to)
    if (inbox?.delete(held) !== true) return
    if (inbox.size === 0) this.#inboxes.delete(held.envelope.to)
    this.#bytes -= held.envelope.body.byteLength
    this.#count -= 1
  }
}
