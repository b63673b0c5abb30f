import type { LinkLimits } from './link-limits.ts'
import type { PathName } from './path-state.ts'

type AckLimits = Pick<LinkLimits, 'ackDelayMs' | 'ackEveryDirectPackets' | 'ackEveryRelayPackets'>

/**
 * Decides when an acknowledgement needs a packet of its own (RFC 9000 section 13.2): at once for what is out of order
 * or seen before, because the other side may be waiting for it; else after 25 ms, or after 16 packets (eight by the relay
 * path). Every packet carries acknowledgements, so with traffic in both directions there are none of their own.
 */
export class Acknowledger {
  readonly #limits: AckLimits
  #packets = 0
  #dueMs: number | undefined

  constructor(limits: AckLimits) {
    this.#limits = limits
  }

  /** When an acknowledgement has to leave at the latest; undefined when none is owed. */
  get dueMs(): number | undefined {
    return this.#dueMs
  }

  /** A packet with reliable frames came by the path. */
  received(path: PathName, inOrder: boolean, nowMs: number): void {
    this.#packets += 1
    const { ackEveryDirectPackets, ackEveryRelayPackets } = this.#limits
    const maxPackets = path === 'direct' ? ackEveryDirectPackets : ackEveryRelayPackets
    if (!inOrder || this.#packets >= maxPackets) this.#dueMs = nowMs
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
