import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '@mesh/core'
import { type Event, EventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** How often a stream says that it lives. */
export const HEARTBEAT_MS = 10_000

/** A session of the signaling server in memory: its events, numbered and kept, and the streams that wait for more. */
export class MemorySession {
  readonly peerKey: Uint8Array
  readonly id: Uint8Array
  /** The server it is at. */
  readonly server: object
  /** While it is true nothing is written, as by a process that does not run. */
  frozen = false
  readonly #clock: Clock
  readonly #events: Event[] = []
  /** Events up to this one are lost for streams that have not written them yet. */
  #lost = 0
  #wake: (() => void)[] = []
  #ended = false
  /** Streams of an earlier number end. */
  #breaks = 0

  constructor(clock: Clock, server: object, peerKey: Uint8Array, id: Uint8Array) {
    this.#clock = clock
    this.server = server
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

  /** Ends the streams; the session stays, and keeps what comes for the next one. */
  breakStreams(): void {
    this.#breaks++
    this.wake()
  }

  /** Loses every event so far that no stream has written: the next stream is told of a gap. */
  loseEvents(): void {
    this.#lost = this.#events.length
  }

  /**
   * A heartbeat, then events after the cursor and a heartbeat every 10 s, until the session ends, the stream is broken or the
   * caller aborts; undefined when there is none but `more` says that the caller has something of its own to write.
   */
  async *events(cursor: bigint, signal: AbortSignal, more = () => false): AsyncGenerator<Event | undefined> {
    const breaks = this.#breaks
    let next = Number(cursor)
    let beatAtMs = this.#clock.monotonicMs()
    signal.addEventListener('abort', () => this.wake(), { once: true })
    while (!this.#ended && !signal.aborted && breaks === this.#breaks) {
      const event = this.#events[next]
      const nowMs = this.#clock.monotonicMs()
      if (this.frozen) {
        await this.#woken()
      } else if (next < this.#lost) {
        const gap = { fromCursor: BigInt(next + 1), toCursor: BigInt(this.#lost) }
        next = this.#lost
        yield create(EventSchema, { cursor: BigInt(next), event: { case: 'gap', value: gap } })
      } else if (nowMs >= beatAtMs) {
        beatAtMs = nowMs + HEARTBEAT_MS
        yield this.#heartbeat(next)
      } else if (event) {
        next++
        yield event
      } else if (more()) {
        yield undefined
      } else {
        const timer = this.#clock.schedule(beatAtMs - nowMs, () => this.wake())
        await this.#woken()
        timer.cancel()
      }
    }
  }

  /** Makes waiting streams look again. */
  wake(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  #heartbeat(cursor: number): Event {
    const value = { serverTimeMs: BigInt(this.#clock.wallMs()) }
    return create(EventSchema, { cursor: BigInt(cursor), event: { case: 'heartbeat', value } })
  }
}
