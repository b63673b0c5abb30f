import { create } from '@bufbuild/protobuf'
import type { MeshError } from '@mesh/core'
import { type Frame, FrameSchema, GoodbyeSchema, PingSchema, PongSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { ACK_BYTES, PING_BYTES } from './frame-size.ts'
import type { LinkLimits } from './link-limits.ts'
import type { Outgoing } from './outgoing.ts'
import type { PathState } from './path-state.ts'
import type { Scheduler } from './scheduler.ts'
import type { SendWindow } from './send-window.ts'

// Fills one packet: what is lost first, lowest number first, because everything behind it waits at the other side;
// then what is urgent; then data. New frames are numbered here, so a frame that was never packed leaves no gap.

export interface PackerOptions {
  readonly limits: LinkLimits
  readonly window: SendWindow
  readonly scheduler: Scheduler
}

export class Packer {
  readonly #options: PackerOptions

  constructor(options: PackerOptions) {
    this.#options = options
  }

  /** Pings and Pongs that wait for this path, which every packet of the path takes along. */
  pingFrames(path: PathState): Frame[] {
    if (path.pongs.length === 0 && path.pings.length === 0) return []
    return [
      ...path.pongs.splice(0).map((id) => frameOf({ case: 'pong', value: create(PongSchema, { id }) })),
      ...path.pings.splice(0).map((id) => frameOf({ case: 'ping', value: create(PingSchema, { id }) })),
    ]
  }

  /** Adds reliable frames to `frames` until the packet or the window is full, or nothing waits. */
  fill(frames: Frame[], path: PathState, nowMs: number): void {
    const room = this.#options.limits.maxBodyBytes - ACK_BYTES - frames.length * PING_BYTES
    const left = this.#addLost(frames, room, path, nowMs)
    if (this.#options.window.lostFrames === 0) this.#addNew(frames, left, path, nowMs)
  }

  #addLost(frames: Frame[], room: number, path: PathState, nowMs: number): number {
    const { window } = this.#options
    let left = room
    for (let sent = window.peekLost(); sent !== undefined; sent = window.peekLost()) {
      if (sent.bytes > left || !this.#hasFlightRoom(path)) break
      window.repeat(sent, nowMs)
      frames.push(sent.frame as Frame)
      left -= sent.bytes
    }
    return left
  }

  #addNew(frames: Frame[], room: number, path: PathState, nowMs: number): void {
    let left = room
    for (let outgoing = this.#next(left, path); outgoing !== undefined; outgoing = this.#next(left, path)) {
      this.#options.window.add(outgoing, nowMs)
      frames.push(outgoing.frame)
      left -= outgoing.bytes
    }
  }

  #next(room: number, path: PathState): Outgoing | undefined {
    const { scheduler } = this.#options
    if (scheduler.hasUrgent) {
      if (!this.#hasWindowRoom(path, true)) return undefined
      const urgent = scheduler.nextUrgent(room)
      // One that does not fit keeps its place: data must not overtake its own opening.
      if (urgent !== undefined || scheduler.hasUrgent) return urgent
    }
    return this.#hasWindowRoom(path, false) ? scheduler.nextData(room) : undefined
  }

  /** Room to repeat. One frame always has it, or a frame larger than a small window would never go. */
  #hasFlightRoom(path: PathState): boolean {
    const { limits, window } = this.#options
    if (window.inFlightFrames === 0) return true
    const { frames, bytes } = windowOf(path, limits)
    return window.inFlightFrames < frames && window.inFlightBytes < bytes
  }

  /** Room for a new number. */
  #hasWindowRoom(path: PathState, urgent: boolean): boolean {
    const { limits, window } = this.#options
    const { frames, bytes } = windowOf(path, limits)
    const reserveFrames = urgent ? limits.urgentReserveFrames : 0
    const reserveBytes = urgent ? limits.urgentReserveBytes : 0
    return window.outstandingFrames < frames + reserveFrames && window.outstandingBytes < bytes + reserveBytes
  }
}

function windowOf(path: PathState, limits: LinkLimits): { frames: number; bytes: number } {
  return path.name === 'direct'
    ? { frames: limits.directWindowFrames, bytes: limits.directWindowBytes }
    : { frames: limits.relayWindowFrames, bytes: limits.relayWindowBytes }
}

/** The frame that ends a link. */
export function goodbyeFrame(error: MeshError): Frame {
  return frameOf({ case: 'goodbye', value: create(GoodbyeSchema, { error: error.toDetail() }) })
}

function frameOf(body: Frame['body']): Frame {
  return create(FrameSchema, { body })
}
