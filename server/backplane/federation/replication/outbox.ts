import { create } from '@bufbuild/protobuf'
import {
  type Frame,
  FrameSchema,
  type OriginState,
  PullSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Neighbour } from '../channel.ts'
import { Cursor, type CursorOptions } from './log/cursor.ts'
import type { OwnOrigin } from './own-origin.ts'
import { PassedOn } from './relay/passed-on.ts'
import type { ReplicaFeed } from './relay/replica-feed.ts'

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
  readonly #cursorOptions: Omit<CursorOptions, 'feed'>
  #isStateDue = true
  #signedState: OriginState | undefined
  /** By origin: the position after which rows are wanted. */
  readonly #pulls = new Map<ByteKey, Frame>()
  /** Origins that the neighbour was asked for. */
  readonly #asked = new Set<ByteKey>()
  /** By origin: what is passed on to the neighbour. */
  readonly #passedOn = new Map<ByteKey, PassedOn>()
  /** Whether the neighbour is asking for frames, until it was told that there is none. */
  isAsking = true

  constructor(options: OutboxOptions) {
    const { neighbour, own, limits, nowMs, snapshotId } = options
    this.#options = options
    this.neighbour = neighbour
    const { recordsPerSecond, maxRequestBytes } = neighbour.limits
    const messageBytes = maxRequestBytes || limits.federationMaxRequestBytes
    this.#cursorOptions = {
      maxRows: Math.min(limits.federationPageRows, recordsPerSecond || Number.POSITIVE_INFINITY),
      maxBytes: Math.min(MAX_FRAME_BYTES, messageBytes - MESSAGE_OVERHEAD_BYTES),
      snapshotsPerSecond: limits.federationSnapshotsPerSecond,
      // The other server counts over streams that break and come back, this one for each of them.
      snapshotsBurst: Math.ceil(limits.federationSnapshotsBurst / 2),
      snapshotId,
      nowMs,
    }
    this.cursor = new Cursor({ feed: own, ...this.#cursorOptions })
  }

  /** When there is something to send that is not there now. One that was woken and waits for credit comes by itself. */
  get dueMs(): number {
    if (this.isAsking) return Number.POSITIVE_INFINITY
    return Math.min(this.cursor.dueMs, ...[...this.#passedOn.values()].map(({ dueMs }) => dueMs))
  }

  /** The own state is to be sent anew. */
  stateDue(): void {
    this.#isStateDue = true
  }

  /** The own epoch is another one. What was signed in the old one would be taken for a step back. */
  epochChanged(): void {
    this.#isStateDue = true
    this.#signedState = undefined
  }

  /** The own state with its signature, for others that this neighbour passes it on to. */
  signedState(state: OriginState): void {
    this.#signedState = state
  }

  pull(origin: ByteKey, epoch: bigint, seq: bigint): void {
    this.#asked.add(origin)
    const value = create(PullSchema, { after: { origin: bytesOfKey(origin), epoch, seq } })
    this.#pulls.set(origin, create(FrameSchema, { frame: { case: 'pull', value } }))
  }

  /** Whether the neighbour was asked for an origin on this stream. */
  hasAsked(origin: ByteKey): boolean {
    return this.#asked.has(origin)
  }

  /** The neighbour asked for another origin: it gets what follows its position, until `untilMs`. */
  passOn(feed: ReplicaFeed, epoch: bigint, seq: bigint, untilMs: number): void {
    const origin = byteKey(feed.origin)
    let passed = this.#passedOn.get(origin)
    if (passed === undefined || passed.feed !== feed) {
      passed?.close()
      passed = new PassedOn(feed, new Cursor({ feed, ...this.#cursorOptions }))
      this.#passedOn.set(origin, passed)
    }
    passed.ask(epoch, seq, untilMs)
  }

  /** A state that an origin signed. */
  passState(origin: ByteKey, state: OriginState): void {
    this.#passedOn.get(origin)?.state(state)
  }

  passes(origin: ByteKey): boolean {
    return this.#passedOn.has(origin)
  }

  stopPassing(origin: ByteKey): void {
    this.#passedOn.get(origin)?.close()
    this.#passedOn.delete(origin)
  }

  /** Stops passing on what the neighbour did not ask for again. */
  expire(nowMs: number): void {
    for (const [origin, { untilMs }] of this.#passedOn) if (untilMs <= nowMs) this.stopPassing(origin)
  }

  next(): Frame | undefined {
    const frame = this.#control() ?? this.#rows()
    this.isAsking = frame !== undefined
    return frame
  }

  close(): void {
    this.cursor.close()
    for (const origin of this.#passedOn.keys()) this.stopPassing(origin)
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
    return signed === undefined ? first(this.#passedOn, (passed) => passed.nextState()) : stateFrame(signed)
  }

  #rows(): Frame | undefined {
    const value = this.cursor.next()
    if (value !== undefined) return create(FrameSchema, { frame: { case: 'rows', value } })
    return first(this.#passedOn, (passed) => passed.nextRows())
  }
}

function stateFrame(value: OriginState): Frame {
  return create(FrameSchema, { frame: { case: 'originState', value } })
}

/** The first frame that any of them has. */
function first(all: ReadonlyMap<ByteKey, PassedOn>, next: (passed: PassedOn) => Frame | undefined): Frame | undefined {
  for (const passed of all.values()) {
    const frame = next(passed)
    if (frame !== undefined) return frame
  }
  return undefined
}
