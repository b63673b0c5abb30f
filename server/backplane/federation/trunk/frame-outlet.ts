import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { frameBytes } from './frame-size.ts'
import type { Opened } from './handshake.ts'
import { SendPace } from './quota.ts'
import type { TrunkStream } from './trunk.ts'

export interface FrameOutletOptions {
  readonly stream: TrunkStream
  readonly opened: Opened
  readonly clock: Clock
  /** Longest wait of a frame for others to travel with it. */
  readonly flushMs: number
  /** The channel's next frame for the other side, undefined when there is none now. */
  readonly next: () => Frame | undefined
  /** The channel failed, or has a frame that no message can hold: a fault of this server. */
  readonly onFailure: (error: MeshError) => void
}

/** Frames travel together up to this: large enough that the cost of a message is nothing, small enough to begin soon. */
const MESSAGE_BYTES = 64 * 1_024

/** Credit that is kept, however much was granted. */
const MAX_CREDIT = 65_536

/**
 * Pulls frames out of a channel while the other side has granted credit, its rates allow it and the transport takes them,
 * and packs them into messages. The first frame after a rest goes at the end of the current job, so that what one event
 * caused travels together; in a busy time frames wait for each other, `flushMs` at most.
 */
export class FrameOutlet {
  readonly #options: FrameOutletOptions
  readonly #pace: SendPace
  readonly #maxBytes: number
  #credit: number
  /** Pulled, and too large for the message it would have gone with. */
  #carried: Frame | undefined
  #full = false
  #closed = false
  #queued = false
  #timer: Timer | undefined
  #flushedMs = Number.NEGATIVE_INFINITY

  constructor(options: FrameOutletOptions) {
    this.#options = options
    const { limits } = options.opened.neighbour
    this.#pace = new SendPace(limits, options.clock)
    this.#maxBytes = limits.maxRequestBytes
    this.#credit = Math.min(options.opened.credit, MAX_CREDIT)
  }

  /** The transport takes no more for now. */
  get isFull(): boolean {
    return this.#full
  }

  /** The other side takes so many frames more. */
  grant(frames: number): void {
    const waited = this.#credit === 0
    this.#credit = Math.min(this.#credit + frames, MAX_CREDIT)
    if (waited) this.flush()
  }

  /** The transport has room again: write what must go first, then `flush`. */
  drained(): void {
    this.#full = false
  }

  /** There may be something to pull. */
  wake(): void {
    if (this.#closed || this.#full || this.#queued || this.#timer !== undefined) return
    const { clock, flushMs } = this.#options
    const waitMs = this.#flushedMs + flushMs - clock.monotonicMs()
    if (waitMs > 0) {
      this.#flushIn(waitMs)
      return
    }
    this.#queued = true
    queueMicrotask(() => {
      this.#queued = false
      this.flush()
    })
  }

  /** Sends now what is there and may go. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    try {
      while (!this.#full && !this.#closed) {
        const frames = this.#gather()
        if (frames.length === 0) return
        this.#flushedMs = this.#options.clock.monotonicMs()
        this.write(frames)
      }
    } catch (thrown) {
      this.#options.onFailure(MeshError.from(thrown))
    }
  }

  /** Writes frames that need no credit, or have theirs. */
  write(frames: readonly Frame[]): void {
    if (!this.#options.stream.write(frames)) this.#full = true
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #gather(): Frame[] {
    const frames: Frame[] = []
    let bytes = 0
    while (bytes < MESSAGE_BYTES) {
      const frame = this.#take()
      if (frame === undefined) break
      const more = frameBytes(frame)
      if (more > this.#maxBytes) throw tooLarge(frame, more, this.#maxBytes)
      if (bytes + more > this.#maxBytes) {
        this.#carried = frame
        break
      }
      frames.push(frame)
      bytes += more
    }
    return frames
  }

  /** The next frame that may go. One that was carried over has paid already. */
  #take(): Frame | undefined {
    const carried = this.#carried
    if (carried !== undefined) {
      this.#carried = undefined
      return carried
    }
    if (this.#credit === 0 || this.#closed) return undefined
    const { waitMs } = this.#pace
    if (waitMs > 0) {
      this.#flushIn(waitMs)
      return undefined
    }
    const frame = this.#options.next()
    if (frame === undefined) return undefined
    this.#credit -= 1
    this.#pace.count(frame)
    return frame
  }

  #flushIn(ms: number): void {
    this.#timer ??= this.#options.clock.schedule(ms, () => {
      this.#timer = undefined
      this.flush()
    })
  }
}

function tooLarge({ frame }: Frame, bytes: number, maxBytes: number): MeshError {
  return new MeshError(ErrorReason.INTERNAL, `a frame (${frame.case}) of up to ${bytes} bytes is above ${maxBytes}`)
}
