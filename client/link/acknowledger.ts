import type { LinkLimits } from './link-limits.ts'

/**
 * Decides when an acknowledgement needs a packet of its own (RFC 9000 section 13.2): at once for what is out of order
 * or seen before, because the other side may be waiting for it; else with every second packet, or after 25 ms. Every
 * packet carries acknowledgements, so with traffic in both directions there are none of their own.
 */
export class Acknowledger {
  readonly #limits: Pick<LinkLimits, 'ackDelayMs' | 'ackEveryPackets'>
  #packets = 0
  #dueMs: number | undefined

  constructor(limits: Pick<LinkLimits, 'ackDelayMs' | 'ackEveryPackets'>) {
    this.#limits = limits
  }

  /** When an acknowledgement has to leave at the latest; undefined when none is owed. */
  get dueMs(): number | undefined {
    return this.#dueMs
  }

  /** A packet with reliable frames came. */
  received(inOrder: boolean, nowMs: number): void {
    this.#packets += 1
    if (!inOrder || this.#packets >= this.#limits.ackEveryPackets) this.#dueMs = nowMs
    else this.#dueMs ??= nowMs + this.#limits.ackDelayMs
  }

  /** An acknowledgement is owed now. */
  hurry(nowMs: number): void {
    this.#dueMs = nowMs
  }

  /** One has left. */
  sent(): void {
    this.#packets = 0
    this.#dueMs = undefined
  }
}
