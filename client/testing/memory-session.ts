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
    this.wake()
  }

  end(): void {
    this.#ended = true
    this.wake()
  }

  /**
   * Events after the cursor, until the session ends or the caller aborts; undefined when there is none but `more` says that
   * the caller has something of its own to write.
   */
  async *events(cursor: bigint, signal: AbortSignal, more = () => false): AsyncGenerator<Event | undefined> {
    let next = Number(cursor)
    signal.addEventListener('abort', () => this.wake(), { once: true })
    while (!this.#ended && !signal.aborted) {
      const event = this.#events[next]
      if (event) {
        next++
        yield event
      } else if (more()) {
        yield undefined
      } else {
        await new Promise<void>((resolve) => this.#wake.push(resolve))
      }
    }
  }

  /** Makes waiting streams look again. */
  wake(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}
