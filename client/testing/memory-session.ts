import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '@mesh/core'
import { type Event, EventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** How often a stream says that it lives. */
export const HEARTBEAT_MS = 10_000

/** A session of the signaling server in memory: its events, numbered and kept, and the streams that wait for more. */
export class MemorySession {
  readonly peerKey: Uint8Array
  readonly id: Uint8Array
  readonly #clock: Clock
  readonly #events: Event[] = []
  #wake: (() => void)[] = []
  #ended = false

  constructor(clock: Clock, peerKey: Uint8Array, id: Uint8Array) {
    this.#clock = clock
    this.peerKey = peerKey
    this.id = id
  }

  push(event: MessageInitShape<typeof EventSchema>['event']): void {
    this.#events.push(create(EventSchema, { cursor: BigInt(this.#events.length + 1), ...(event && { event }) }))
    this.wake()
  }

  end(): void {
    this.#ended = true
    this.wake()
  }

  /**
   * A heartbeat, then events after the cursor and a heartbeat every 10 s, until the session ends or the caller aborts;
   * undefined when there is none but `more` says that the caller has something of its own to write.
   */
  async *events(cursor: bigint, signal: AbortSignal, more = () => false): AsyncGenerator<Event | undefined> {
    let next = Number(cursor)
    let beatAtMs = this.#clock.monotonicMs()
    signal.addEventListener('abort', () => this.wake(), { once: true })
    while (!this.#ended && !signal.aborted) {
      const event = this.#events[next]
      const nowMs = this.#clock.monotonicMs()
      if (nowMs >= beatAtMs) {
        beatAtMs = nowMs + HEARTBEAT_MS
        yield this.#heartbeat(next)
      } else if (event) {
        next++
        yield event
      } else if (more()) {
        yield undefined
      } else {
        const timer = this.#clock.schedule(beatAtMs - nowMs, () => this.wake())
        await new Promise<void>((resolve) => this.#wake.push(resolve))
        timer.cancel()
      }
    }
  }

  #heartbeat(cursor: number): Event {
    const value = { serverTimeMs: BigInt(this.#clock.wallMs()) }
    return create(EventSchema, { cursor: BigInt(cursor), event: { case: 'heartbeat', value } })
  }

  /** Makes waiting streams look again. */
  wake(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}
