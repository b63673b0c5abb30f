import type { Clock, Timer } from '@mesh/core'
import type { Call } from '../../http/call.ts'
import type { NodeResponse } from '../../http/request.ts'
import type { Session } from '../../session/session.ts'
import type { SessionStream, StreamEnding } from '../../session/session-stream.ts'
import { connectError } from '../errors.ts'
import type { Reply } from './reply.ts'
import { encodeStreamFrame } from './responses.ts'

export interface StreamWriterOptions {
  readonly reply: Reply
  readonly response: NodeResponse
  readonly call: Call
  readonly clock: Clock
  /** How long an ended stream may take to read its last notice before the transport is cut. */
  readonly streamEndMs: number
  /** Everything that waited was handed over. */
  readonly onFlushed: () => void
}

/** Bytes of events in one message. */
const MAX_BATCH_BYTES = 64 * 1_024

/** Writes what a session stream has, once per turn of the event loop, and waits while the transport is full. */
export class StreamWriter {
  readonly #options: StreamWriterOptions
  readonly #stream: SessionStream
  #outcomes: Uint8Array[] = []
  #turn: NodeJS.Immediate | undefined
  #full = false
  #endedBy: StreamEnding | undefined
  #cut: Timer | undefined

  /** @throws MeshError as `Session.attach`. */
  constructor(session: Session, cursor: bigint, tokenExpiresAtMs: number, options: StreamWriterOptions) {
    this.#options = options
    const { response } = options
    this.#stream = session.attach(cursor, tokenExpiresAtMs, {
      wake: () => this.wake(),
      get backlogBytes() {
        return response.writableLength
      },
    })
    response.on('drain', () => {
      this.#full = false
      this.#flush()
    })
    response.once('close', () => this.close())
    this.#flush()
  }

  get stream(): SessionStream {
    return this.#stream
  }

  /** Outcomes that wait to be written. */
  get pendingOutcomes(): number {
    return this.#outcomes.length
  }

  addOutcomes(outcomes: readonly Uint8Array[]): void {
    this.#outcomes.push(...outcomes)
    this.wake()
  }

  /** Something is ready: written at the end of this turn. */
  wake(): void {
    this.#endedBy ??= this.#stream.ending
    if (this.#endedBy !== undefined) this.#cutLater()
    if (this.#full) return
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined
      this.#flush()
    })
  }

  /** Leaves the session; the response is somebody else's. Idempotent. */
  close(): void {
    if (this.#turn !== undefined) clearImmediate(this.#turn)
    this.#turn = undefined
    this.#cut?.cancel()
    this.#stream.close()
  }

  #flush(): void {
    const { reply, onFlushed } = this.#options
    const frames: Uint8Array[] = []
    while (this.#stream.hasMore || this.#outcomes.length > 0) {
      const outcomes = this.#outcomes
      this.#outcomes = []
      frames.push(encodeStreamFrame(this.#stream.take(MAX_BATCH_BYTES), outcomes))
      if (frames.length === MAX_FRAMES_PER_TURN) break
    }
    if (frames.length > 0)
      this.#full = !reply.write(frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames))
    if (this.#endedBy !== undefined && !this.#stream.hasMore) {
      reply.finish(connectError(this.#endedBy.error))
      return
    }
    onFlushed()
    if (!this.#full && this.#stream.hasMore) this.wake()
  }

  #cutLater(): void {
    const { clock, call, streamEndMs } = this.#options
    this.#cut ??= clock.schedule(streamEndMs, call.cut)
  }
}

/** 256 KiB in one write: more is left for the next turn, so that one reader does not hold up the others. */
const MAX_FRAMES_PER_TURN = 4
