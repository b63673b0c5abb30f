import { type Clock, MeshError, type Timer } from '@mesh/core'
import type { OutgoingCall } from './outgoing-call.ts'

/**
 * When a link gets new keys, which the peer with the lower key decides: after an hour, or 2^32 packets, it calls again and
 * names the connection whose keys the call replaces. The old keys serve until the answer is here; a call nobody answers is
 * repeated at the next check.
 */
export interface RekeyingOptions {
  readonly clock: Clock
  /** Packets sealed under the keys in force. */
  readonly sealed: () => bigint
  /** Makes the call; undefined while the peer cannot be called. `onTimeout`: nobody answered. */
  readonly makeCall: (onTimeout: () => void) => OutgoingCall | undefined
  readonly onError: (error: MeshError) => void
}

const REKEY_AFTER_MS = 3_600_000
/** Below the 2^32 packets a key may seal (MAX_PACKETS_PER_KEY), by a minute of the fastest link. */
const REKEY_AFTER_PACKETS = 2n ** 32n - 2n ** 24n
const CHECK_MS = 60_000

export class Rekeying {
  readonly #options: RekeyingOptions
  #keyedAtMs: number
  #call: OutgoingCall | undefined
  #check: Timer | undefined

  constructor(options: RekeyingOptions) {
    this.#options = options
    this.#keyedAtMs = options.clock.monotonicMs()
    this.#watch()
  }

  /** The call that waits for an answer. */
  get call(): OutgoingCall | undefined {
    return this.#call
  }

  /** The link has new keys. */
  done(): void {
    this.abandon()
    this.#keyedAtMs = this.#options.clock.monotonicMs()
  }

  /** Gives the call up; the next check makes another. Idempotent. */
  abandon(): void {
    this.#call?.end()
    this.#call = undefined
  }

  close(): void {
    this.#check?.cancel()
    this.abandon()
  }

  #watch(): void {
    const { clock, sealed } = this.#options
    this.#check = clock.schedule(CHECK_MS, () => {
      const ageMs = clock.monotonicMs() - this.#keyedAtMs
      if (ageMs >= REKEY_AFTER_MS || sealed() >= REKEY_AFTER_PACKETS) this.#begin()
      this.#watch()
    })
  }

  #begin(): void {
    const { makeCall, onError } = this.#options
    this.abandon()
    this.#call = makeCall(() => this.abandon())
    this.#call?.start().catch((error: unknown) => onError(MeshError.from(error)))
  }
}
