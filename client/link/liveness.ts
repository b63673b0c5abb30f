import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkLimits } from './link-limits.ts'
import type { PathState } from './path-state.ts'

// Whether anybody is there at the other end of a path.
//
// A watched path that was silent for pingMs is asked for a Pong, again and again; after directDeadMs (direct) or
// noProgressMs (relay) of silence it is dead. Silence is counted in pings, not in time, so that a process that was
// suspended asks before it judges.
//
// The direct path is watched while it is usable. The relay path is quiet by design: it is watched only while data waits
// for nothing but the other side's credit, which a peer that is gone would never give.

export class Liveness {
  readonly #limits: LinkLimits
  #pingId = 0n

  constructor(limits: LinkLimits) {
    this.#limits = limits
  }

  /** Starts or stops watching. */
  watch(path: PathState, watched: boolean, nowMs: number): void {
    if (watched === (path.pingDueMs !== undefined)) return
    path.pingDueMs = watched ? nowMs + this.#limits.pingMs : undefined
    path.unansweredPings = 0
  }

  /** A packet came by the path. */
  heard(path: PathState, nowMs: number): void {
    path.unansweredPings = 0
    if (path.pingDueMs !== undefined) path.pingDueMs = nowMs + this.#limits.pingMs
  }

  /** Queues a ping. Resolves with the round trip in milliseconds. @throws MeshError LINK_TIMEOUT; the link's error */
  ping(path: PathState, nowMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      path.pushPing(++this.#pingId, { sentAtMs: nowMs, resolve, reject }, pingTimeout)
    })
  }

  /** Gives up pings that wait too long, and queues the one that is due. `dead`: the path has had its time. */
  check(path: PathState, nowMs: number): 'alive' | 'dead' {
    const { pingMs, pingTimeoutMs, directDeadMs, noProgressMs } = this.#limits
    path.failPings(nowMs - pingTimeoutMs, pingTimeout)
    if (path.pingDueMs === undefined || path.pingDueMs > nowMs) return 'alive'
    const deadMs = path.name === 'direct' ? directDeadMs : noProgressMs
    if (path.unansweredPings >= deadMs / pingMs - 1) return 'dead'
    path.unansweredPings += 1
    path.pingDueMs = nowMs + pingMs
    // Whatever comes back counts as heard; nobody waits for this Pong itself.
    this.ping(path, nowMs).catch(() => undefined)
    return 'alive'
  }

  /** When `check` has something to do. */
  dueMs(path: PathState): number | undefined {
    const { oldestPingAtMs, pingDueMs } = path
    if (oldestPingAtMs === undefined) return pingDueMs
    const timeoutMs = oldestPingAtMs + this.#limits.pingTimeoutMs
    return pingDueMs === undefined ? timeoutMs : Math.min(pingDueMs, timeoutMs)
  }
}

function pingTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, 'No Pong came in time')
}
