import type { Clock, Timer } from '@mesh/core'
import type { Event } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/**
 * Which events of an Exchange the server may forget. The position travels with every request that carries envelopes; a client
 * that only listens says it by itself, a second after the first event it has not acknowledged yet, or as soon as those events
 * fill 64 KiB. Heartbeats repeat the last position, so a quiet stream stays quiet.
 */

const ACKNOWLEDGE_AFTER_MS = 1_000
const ACKNOWLEDGE_BYTES = 64 * 1024
/** Keys, ids and headers of one event, roughly. */
const EVENT_OVERHEAD_BYTES = 128

export class Acknowledgements {
  readonly #clock: Clock
  readonly #onDue: () => void
  #handled: bigint
  #sent: bigint
  #unsentBytes = 0
  #due = false
  #timer: Timer | undefined

  /** `cursor`: what the first request of the stream says. `onDue`: `take` should be sent, with or without envelopes. */
  constructor(clock: Clock, cursor: bigint, onDue: () => void) {
    this.#clock = clock
    this.#onDue = onDue
    this.#handled = cursor
    this.#sent = cursor
  }

  /** True when the position is worth a request of its own. */
  get due(): boolean {
    return this.#due
  }

  /** The client is done with these events. */
  handled(events: readonly Event[]): void {
    for (const { cursor, event } of events) {
      if (cursor <= this.#handled) continue
      this.#handled = cursor
      this.#unsentBytes += EVENT_OVERHEAD_BYTES + (event.case === 'message' ? event.value.payload.length : 0)
    }
    if (this.#handled === this.#sent || this.#due) return
    if (this.#unsentBytes >= ACKNOWLEDGE_BYTES) this.#fallDue()
    else this.#timer ??= this.#clock.schedule(ACKNOWLEDGE_AFTER_MS, () => this.#fallDue())
  }

  /** The position to send now. */
  take(): bigint {
    this.stop()
    this.#sent = this.#handled
    this.#unsentBytes = 0
    return this.#sent
  }

  /** Nothing falls due any more. Idempotent. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#due = false
  }

  #fallDue(): void {
    this.stop()
    this.#due = true
    this.#onDue()
  }
}
