import type { MeshError } from '@mesh/core'
import type { Frame, PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { ACK_BYTES } from './frame-size.ts'
import type { LinkStats } from './link-effects.ts'
import type { LinkLimits } from './link-limits.ts'
import { Packer } from './packer.ts'
import type { PathState } from './path-state.ts'
import { Recovery } from './recovery.ts'
import type { Scheduler } from './scheduler.ts'
import { SendWindow } from './send-window.ts'

// The sending half of a link: takes what the scheduler has ready, packs it, keeps it until it is acknowledged, and
// sends it again when it counts as lost.

export class Sending {
  readonly window = new SendWindow()
  readonly recovery: Recovery
  readonly #limits: LinkLimits
  readonly #scheduler: Scheduler
  readonly #packer: Packer
  #timeouts = 0

  constructor(limits: LinkLimits, scheduler: Scheduler) {
    this.#limits = limits
    this.#scheduler = scheduler
    this.recovery = new Recovery(limits)
    this.#packer = new Packer({ limits, window: this.window, scheduler })
  }

  get stats(): Pick<
    LinkStats,
    'framesRepeated' | 'timeouts' | 'outstandingFrames' | 'outstandingBytes' | 'inFlightBytes'
  > {
    const { repeatedFrames, outstandingFrames, outstandingBytes, inFlightBytes } = this.window
    const timeouts = this.#timeouts
    return { framesRepeated: repeatedFrames, timeouts, outstandingFrames, outstandingBytes, inFlightBytes }
  }

  /** Whether anything can be sent or is unacknowledged; what waits for credit does not count. */
  get waiting(): boolean {
    return this.window.outstandingFrames > 0 || this.#scheduler.hasFrames
  }

  /**
   * Takes the acknowledgements of a packet that came by `path`, while `active` carries the link.
   * @throws MeshError FRAME_INVALID
   */
  acknowledge(body: PacketBody, path: PathState, active: PathState | undefined, nowMs: number): void {
    const acknowledged = this.window.acknowledge(body.ack, body.ranges)
    if (acknowledged.frames > 0) {
      this.recovery.progressed(nowMs)
      const { sampleSentAtMs } = acknowledged
      // An answer that came by another path measures neither.
      if (sampleSentAtMs !== undefined && path === active) path.rtt.sample(nowMs - sampleSentAtMs)
    }
    if (body.ranges.length > 0) this.#markOvertaken(active, nowMs)
  }

  /** Frames for one packet on the path, with its pings; none when the window is full or nothing waits. */
  nextFrames(path: PathState, nowMs: number): Frame[] {
    if (this.recovery.probing && this.window.inFlightFrames > 0) return []
    if (this.window.inFlightFrames === 0) this.recovery.restart()
    const frames = this.#packer.pingFrames(path)
    this.#packer.fill(frames, path, nowMs)
    return frames
  }

  /** The pings and Pongs of a path alone. */
  pingFrames(path: PathState): Frame[] {
    return this.#packer.pingFrames(path)
  }

  /** Another path carries the link: what is in flight on the old one is sent again. */
  pathChanged(nowMs: number): void {
    this.window.markAllLost()
    this.recovery.pathChanged(nowMs)
  }

  /** Does what is due. `silent`: the relay path brings nothing. `dead`: the path, or the link without one, had its time. */
  check(active: PathState | undefined, nowMs: number): 'alive' | 'silent' | 'dead' {
    const { overtakenDueMs } = this.recovery
    if (overtakenDueMs !== undefined && overtakenDueMs <= nowMs) this.#markOvertaken(active, nowMs)
    if (this.recovery.expired(active, nowMs)) this.#timeout(active)
    if (this.recovery.dead(active, nowMs)) return 'dead'
    return this.recovery.silent(active, nowMs) ? 'silent' : 'alive'
  }

  /** Ends everything that was not acknowledged. Returns how many frames those were. */
  fail(error: MeshError): number {
    const urgent = this.#scheduler.drainUrgent()
    const frames = this.window.outstandingFrames + urgent.length
    this.window.fail(error)
    for (const outgoing of urgent) outgoing.settlement?.failed(error)
    return frames
  }

  /** Overtaking means loss on the relay path. A data channel keeps order: there, what is late is not lost. */
  #markOvertaken(active: PathState | undefined, nowMs: number): void {
    if (active?.name !== 'relay') return
    const reorderingMs = active.rtt.reorderingMs(this.#limits.initialRtoMs)
    this.recovery.overtakenDueMs = this.window.markOvertaken(nowMs, reorderingMs)
  }

  #timeout(active: PathState | undefined): void {
    this.#timeouts += 1
    // A full path may not have sent yet what was given to it.
    if (active?.blocked) return
    if (active?.name === 'relay') this.window.markAllLost()
    else this.window.markOldestLost(this.#limits.maxBodyBytes - ACK_BYTES)
  }
}
