import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkLimits } from './link-limits.ts'
import type { PathName, PathState } from './path-state.ts'

// When to stop waiting for an acknowledgement, and when to stop waiting at all.
//
//  - Retransmission timeout (RFC 6298 section 5): one for the link, started when something begins to wait, started
//    again by progress, doubled by each expiry, at most maxRtoMs.
//  - After a timeout on the relay path everything in flight counts as lost, but only one packet is sent, as a probe,
//    until something is acknowledged: a server that restarts is not met with a full window from everybody.
//  - Without progress for directDeadMs, the direct path is dead. By the relay the other side is silent when nothing came
//    for silentMs: it may sleep, so probes go on, further apart. After deadMs without progress the link is dead.
//    Time alone does not decide: a process that was suspended first sends its probes again.

/** Timeouts without an answer before a path may be called dead or silent: the first may have met a lost probe. */
const MIN_PROBES = { relay: 3, direct: 2 } as const

export class Recovery {
  readonly #limits: LinkLimits
  #timeoutDueMs: number | undefined
  #waitingSinceMs: number | undefined
  #heardMs = 0
  #timeouts = 0
  #probing = false
  /** When the next overtaken frame counts as lost; set by whoever marks them. */
  overtakenDueMs: number | undefined

  constructor(limits: LinkLimits) {
    this.#limits = limits
  }

  /** Whether only a probe may be sent. */
  get probing(): boolean {
    return this.#probing
  }

  /** Notes whether anything waits to be sent or acknowledged. To be called after every change of that. */
  update(waiting: boolean, path: PathState | undefined, nowMs: number): void {
    if (!waiting) {
      this.#reset()
      this.#waitingSinceMs = undefined
      this.overtakenDueMs = undefined
      return
    }
    this.#waitingSinceMs ??= nowMs
    if (path !== undefined) this.#timeoutDueMs ??= nowMs + this.#timeoutMs(path)
  }

  /** The first frame after silence is being sent: its timeout starts now. */
  restart(): void {
    this.#timeoutDueMs = undefined
  }

  /** Something was acknowledged that was not known to have arrived. */
  progressed(nowMs: number): void {
    this.#reset()
    this.#waitingSinceMs = nowMs
  }

  /** A packet came, whatever it brought. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs
  }

  /** Another path carries the link: it gets its own time. */
  pathChanged(nowMs: number): void {
    this.#reset()
    this.overtakenDueMs = undefined
    if (this.#waitingSinceMs !== undefined) this.#waitingSinceMs = nowMs
  }

  /** The other side may be back, or this side was away: the timeout expires now, and the time starts over. */
  hurry(nowMs: number): void {
    if (this.#waitingSinceMs === undefined) return
    this.#reset()
    this.#waitingSinceMs = nowMs
    this.#timeoutDueMs = nowMs
  }

  /** Whether the relay path brings nothing although something waits. */
  silent(path: PathState | undefined, nowMs: number): boolean {
    const dueMs = this.#silentDueMs(path)
    return dueMs !== undefined && dueMs <= nowMs
  }

  /** Whether the timeout has expired. Counts it, and starts probing on the relay path. */
  expired(path: PathState | undefined, nowMs: number): boolean {
    if (path === undefined || this.#timeoutDueMs === undefined || this.#timeoutDueMs > nowMs) return false
    this.#timeouts += 1
    this.#timeoutDueMs = undefined
    this.#probing = path.name === 'relay'
    return true
  }

  /** Whether the path in use, or the link when there is none, has had its time. */
  dead(path: PathState | undefined, nowMs: number): boolean {
    const dueMs = this.#deadDueMs(path)
    return dueMs !== undefined && dueMs <= nowMs
  }

  /** When this has to be asked again. */
  dueMs(path: PathState | undefined): number | undefined {
    const judgementMs = earliest(this.#silentDueMs(path), this.#deadDueMs(path))
    // Without a path there is nothing to send again: the next one starts its own time.
    const timeoutDueMs = path === undefined ? undefined : this.#timeoutDueMs
    return earliest(timeoutDueMs, earliest(this.overtakenDueMs, judgementMs))
  }

  #deadDueMs(path: PathState | undefined): number | undefined {
    if (this.#waitingSinceMs === undefined) return undefined
    if (path === undefined) return this.#waitingSinceMs + this.#limits.deadMs
    if (this.#timeouts < MIN_PROBES[path.name]) return undefined
    return this.#waitingSinceMs + (path.name === 'relay' ? this.#limits.deadMs : this.#limits.directDeadMs)
  }

  #silentDueMs(path: PathState | undefined): number | undefined {
    if (this.#waitingSinceMs === undefined || path?.name !== 'relay') return undefined
    if (path.silent || this.#timeouts < MIN_PROBES.relay) return undefined
    return Math.max(this.#waitingSinceMs, this.#heardMs) + this.#limits.silentMs
  }

  #timeoutMs(path: PathState): number {
    const minMs = path.name === 'relay' ? this.#limits.minRelayRtoMs : this.#limits.minDirectRtoMs
    const maxMs = path.silent ? this.#limits.silentRtoMs : this.#limits.maxRtoMs
    return Math.min(maxMs, path.rtt.rtoMs(minMs, this.#limits) * 2 ** this.#timeouts)
  }

  #reset(): void {
    this.#timeoutDueMs = undefined
    this.#timeouts = 0
    this.#probing = false
  }
}

/** Why a path, or a link without one, was given up. */
export function silence(path: PathName | undefined, { directDeadMs }: LinkLimits): MeshError {
  const where = path === undefined ? 'There was no path to the other side' : 'Nothing came through the relay path'
  const message = path === 'direct' ? `Nothing came through for ${directDeadMs} ms` : `${where} while something waited`
  return new MeshError(ErrorReason.LINK_TIMEOUT, message)
}

/** The earlier of two times that may not be set. */
export function earliest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b
  if (b === undefined) return a
  return Math.min(a, b)
}
