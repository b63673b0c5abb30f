import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { type Event, EventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** A session of the signaling server in memory: its events, numbered and kept, and the streams that wait for more. */
export class MemorySession {
  readonly peerKey: Uint8Array
  readonly id: Uint8Array
  readonly #events: Event[] = []
  #wake: (() => void)[] = []
  #ended = false

  constructor(peerKey: Uint8Array, id: Uint8Array) {
    this.peerKey = peerKey
    this.id = id
  }

  push(event: MessageInitShape<typeof EventSchema>['event']): void {
    this.#events.push(create(EventSchema, { cursor: BigInt(this.#events.length + 1), ...(event && { event }) }))
    this.#notify()
  }

  end(): void {
    this.#ended = true
    this.#notify()
  }

  /** Events after the cursor, until the session ends or the caller aborts. */
  async *events(cursor: bigint, signal: AbortSignal): AsyncGenerator<Event> {
    let next = Number(cursor)
    signal.addEventListener('abort', () => this.#notify(), { once: true })
    while (!this.#ended && !signal.aborted) {
      const event = this.#events[next]
      if (event) {
        next++
        yield event
      } else {
        await new Promise<void>((resolve) => this.#wake.push(resolve))
      }
    }
  }

  #notify(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}
