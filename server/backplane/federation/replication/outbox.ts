import { create } from '@bufbuild/protobuf'
import {
  type Frame,
  FrameSchema,
  type OriginState,
  PullSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Neighbour } from '../channel.ts'
import { Cursor } from './log/cursor.ts'
import type { OwnOrigin } from './own-origin.ts'

/** A frame of rows is at most 256 KiB: it must not keep a state waiting for long on a slow line. */
const MAX_FRAME_BYTES = 256 * 1_024
/** What a frame may be short of the neighbour's largest message. */
const MESSAGE_OVERHEAD_BYTES = 8 * 1_024

export interface OutboxOptions {
  readonly neighbour: Neighbour
  readonly own: OwnOrigin
  readonly limits: ServerLimits
  readonly nowMs: () => number
  readonly snapshotId: () => bigint
}

/**
 * What goes to one neighbour, made when it is asked for: states and pulls first, then rows. Nothing piles up here for a
 * neighbour that is slow: of each kind only the newest counts.
 */
export class Outbox {
  readonly neighbour: Neighbour
  readonly cursor: Cursor
  readonly #options: OutboxOptions
  #isStateDue = true
  #signedState: OriginState | undefined
  /** By origin: the position after which rows are wanted. */
  readonly #pulls = new Map<string, Frame>()
  /** Whether the neighbour is asking for frames, until it was told that there is none. */
  isAsking = true

  constructor(options: OutboxOptions) {
    const { neighbour, own, limits, nowMs, snapshotId } = options
    this.#options = options
    this.neighbour = neighbour
    const { recordsPerSecond, maxRequestBytes } = neighbour.limits
    this.cursor = new Cursor({
      feed: own,
      maxRows: Math.min(limits.federationPageRows, recordsPerSecond || Number.POSITIVE_INFINITY),
      maxBytes: Math.min(
        MAX_FRAME_BYTES,
        (maxRequestBytes || limits.federationMaxRequestBytes) - MESSAGE_OVERHEAD_BYTES,
      ),
      snapshotIntervalMs: limits.federationStateMs,
      snapshotId,
      nowMs,
    })
  }

  /** The own state is to be sent anew. */
  stateDue(): void {
    this.#isStateDue = true
  }

  /** The own state with its signature, for others that this neighbour passes it on to. */
  signedState(state: OriginState): void {
    this.#signedState = state
  }

  pull(origin: Uint8Array, epoch: bigint, seq: bigint): void {
    const pull = create(PullSchema, { after: { origin, epoch, seq } })
    this.#pulls.set(String(origin), create(FrameSchema, { frame: { case: 'pull', value: pull } }))
  }

  next(): Frame | undefined {
    const frame = this.#control() ?? this.#rows()
    this.isAsking = frame !== undefined
    return frame
  }

  /** When there is something to send that is not there now. One that was woken and waits for credit comes by itself. */
  get dueMs(): number {
    return this.isAsking ? Number.POSITIVE_INFINITY : this.cursor.dueMs
  }

  close(): void {
    this.cursor.close()
  }

  #control(): Frame | undefined {
    for (const [origin, pull] of this.#pulls) {
      this.#pulls.delete(origin)
      return pull
    }
    if (this.#isStateDue) {
      this.#isStateDue = false
      const { own, limits } = this.#options
      const leaseMs = Math.min(limits.federationLeaseMs, this.neighbour.limits.maxLeaseMs || Number.POSITIVE_INFINITY)
      return stateFrame(own.state(leaseMs))
    }
    const signed = this.#signedState
    this.#signedState = undefined
    return signed && stateFrame(signed)
  }

  #rows(): Frame | undefined {
    const rows = this.cursor.next()
    return rows && create(FrameSchema, { frame: { case: 'rows', value: rows } })
  }
}

function stateFrame(value: OriginState): Frame {
  return create(FrameSchema, { frame: { case: 'originState', value } })
}
