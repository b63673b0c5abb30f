import { create } from '@bufbuild/protobuf'
import { type Frame, FrameSchema, type OriginState } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { Cursor } from '../log/cursor.ts'
import type { ReplicaFeed } from './replica-feed.ts'

/** One origin that is passed on to one neighbour: until `untilMs`, unless the neighbour asks again. */
export class PassedOn {
  readonly feed: ReplicaFeed
  readonly #cursor: Cursor
  #untilMs = 0
  #state: OriginState | undefined

  constructor(feed: ReplicaFeed, cursor: Cursor) {
    this.feed = feed
    this.#cursor = cursor
  }

  get untilMs(): number {
    return this.#untilMs
  }

  /** When there is something to send that is not there now. */
  get dueMs(): number {
    return this.feed.isOpen ? this.#cursor.dueMs : Number.POSITIVE_INFINITY
  }

  /** The neighbour asked, for what follows its position. A snapshot that is being sent goes on. */
  ask(epoch: bigint, seq: bigint, untilMs: number): void {
    this.#untilMs = untilMs
    if (this.#cursor.isSendingSnapshot) return
    const { head } = this.feed.log
    // It can be ahead of this server: what comes next is of use to both.
    this.#cursor.seek(epoch, epoch === this.feed.epoch && seq > head ? head : seq)
  }

  /** The origin signed a new state. */
  state(state: OriginState): void {
    this.#state = state
  }

  nextState(): Frame | undefined {
    const value = this.#state
    this.#state = undefined
    return value && create(FrameSchema, { frame: { case: 'originState', value } })
  }

  nextRows(): Frame | undefined {
    const value = this.feed.isOpen ? this.#cursor.next() : undefined
    return value && create(FrameSchema, { frame: { case: 'rows', value } })
  }

  close(): void {
    this.#cursor.close()
  }
}
