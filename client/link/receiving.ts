import type { Frame } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { Acknowledger } from './acknowledger.ts'
import { checkFrame } from './frame-check.ts'
import type { LinkStats } from './link-effects.ts'
import type { LinkLimits } from './link-limits.ts'
import type { PathState } from './path-state.ts'
import { ReceiveWindow } from './receive-window.ts'
import { retained } from './retained.ts'

// The receiving half of a link: checks every frame, puts the reliable ones in order, and decides when what arrived is
// acknowledged.

export interface ReceivingHandlers {
  /** A reliable frame, in order, exactly once. @throws MeshError FRAME_INVALID */
  reliable(body: Frame['body']): void
  /** A ping, Pong, Goodbye or datagram, as it comes. */
  unreliable(path: PathState, body: Frame['body'], nowMs: number): void
  /** Whether the link closed meanwhile: the rest is not looked at. */
  closed(): boolean
}

type ReceivingStats = Pick<
  LinkStats,
  | 'packetsReceived'
  | 'framesReceived'
  | 'duplicatesReceived'
  | 'overflowsReceived'
  | 'datagramsReceived'
  | 'heldFrames'
  | 'heldBytes'
>

export class Receiving {
  readonly window: ReceiveWindow
  readonly acknowledger: Acknowledger
  readonly #handlers: ReceivingHandlers
  readonly #counts = {
    packetsReceived: 0,
    framesReceived: 0,
    duplicatesReceived: 0,
    overflowsReceived: 0,
    datagramsReceived: 0,
  }

  constructor(limits: LinkLimits, handlers: ReceivingHandlers) {
    this.window = new ReceiveWindow(limits)
    this.acknowledger = new Acknowledger(limits)
    this.#handlers = handlers
  }

  get stats(): ReceivingStats {
    return { ...this.#counts, heldFrames: this.window.heldFrames, heldBytes: this.window.heldBytes }
  }

  /** Takes the frames of one packet. @throws MeshError FRAME_INVALID */
  receive(path: PathState, frames: readonly Frame[], nowMs: number): void {
    this.#counts.packetsReceived += 1
    let reliable = false
    let inOrder = this.window.heldFrames === 0
    for (const frame of frames) {
      checkFrame(frame)
      if (frame.seq === 0n) {
        if (frame.body.case === 'datagram') this.#counts.datagramsReceived += 1
        this.#handlers.unreliable(path, frame.body, nowMs)
      } else {
        reliable = true
        if (!this.#place(frame)) inOrder = false
      }
      if (this.#handlers.closed()) return
    }
    if (reliable) this.acknowledger.received(path.name, inOrder, nowMs)
  }

  /** Whether the frame was next in line. Hands on everything that is in order now. */
  #place(frame: Frame): boolean {
    this.#counts.framesReceived += 1
    const place = this.window.accept(Number(frame.seq), frame)
    if (place === 'duplicate') this.#counts.duplicatesReceived += 1
    if (place === 'overflow') this.#counts.overflowsReceived += 1
    if (place === 'held' && frame.body.case === 'data') frame.body.value.data = retained(frame.body.value.data)
    if (place !== 'next') return false
    let next: Frame | undefined = frame
    while (next !== undefined && !this.#handlers.closed()) {
      this.#handlers.reliable(next.body)
      next = this.window.shift()
    }
    return true
  }
}
