import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkLimits } from './link-limits.ts'
import type { PathState } from './path-state.ts'
import { earliest } from './recovery.ts'

// Whether anybody is there at the other end of a path.
//
// A watched path that was silent for pingMs is asked for a Pong, again and again; after directDeadMs of silence the
// direct path is dead, after silentMs the relay path is silent. Silence is counted in pings, not in time, so that a
// process that was suspended asks before it judges.
//
// The direct path is watched while it is usable, the relay path only while data waits for nothing but the other side's
// credit, which a peer that is gone would never give.

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
    path.checkDueMs = undefined
    path.unansweredPings = 0
  }

  /** Asks a watched path for an answer within checkMs. */
  probe(path: PathState, nowMs: number): void {
    if (path.pingDueMs === undefined) return
    path.checkDueMs = nowMs + this.#limits.checkMs
    this.#ask(path, nowMs)
  }

  /**
   * The other side spoke by another path, as it does when this one is dead for it. In one direction alone that may be so for long
   * before it shows here, while nothing that is acknowledged this way arrives: a path that was quiet for checkMs is asked.
   */
  doubt(path: PathState, nowMs: number): void {
    const { pingMs, checkMs } = this.#limits
    if (path.pingDueMs === undefined || path.checkDueMs !== undefined) return
    const heardMs = path.pingDueMs - pingMs
    if (path.unansweredPings > 0 || nowMs - heardMs >= checkMs) this.probe(path, nowMs)
  }

  /** A packet came by the path. */
  heard(path: PathState, nowMs: number): void {
    path.unansweredPings = 0
    path.checkDueMs = undefined
    if (path.pingDueMs !== undefined) path.pingDueMs = nowMs + this.#limits.pingMs
  }

  /** Queues a ping. Resolves with the round trip in milliseconds. @throws MeshError LINK_TIMEOUT; the link's error */
  ping(path: PathState, nowMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      path.pushPing(++this.#pingId, { sentAtMs: nowMs, resolve, reject }, pingTimeout)
    })
  }

  /**
   * Gives up pings that wait too long, and queues the one that is due. `silent`: the relay path has had its time. `dead`: the
   * direct path has, or the other side was silent for very long.
   */
  check(path: PathState, nowMs: number): 'alive' | 'silent' | 'dead' {
    const { pingMs, pingTimeoutMs, directDeadMs, silentMs, silentRtoMs, deadMs } = this.#limits
    path.failPings(nowMs - pingTimeoutMs, pingTimeout)
    if (path.checkDueMs !== undefined && path.checkDueMs <= nowMs) return 'dead'
    if (path.pingDueMs === undefined || path.pingDueMs > nowMs) return 'alive'
    const patience = (path.name === 'direct' ? directDeadMs : silentMs) / pingMs - 1
    const spent = path.unansweredPings >= patience
    if (spent && path.name === 'direct') return 'dead'
    if (path.unansweredPings >= patience + deadMs / silentRtoMs) return 'dead'
    path.unansweredPings += 1
    path.pingDueMs = nowMs + (spent ? silentRtoMs : pingMs)
    this.#ask(path, nowMs)
    return spent ? 'silent' : 'alive'
  }

  /** When `check` has something to do. */
  dueMs({ oldestPingAtMs, pingDueMs, checkDueMs }: PathState): number | undefined {
    const timeoutMs = oldestPingAtMs === undefined ? undefined : oldestPingAtMs + this.#limits.pingTimeoutMs
    return earliest(earliest(pingDueMs, checkDueMs), timeoutMs)
  }

  /** Whatever comes back counts as heard; nobody waits for this Pong itself. */
  #ask(path: PathState, nowMs: number): void {
    this.ping(path, nowMs).catch(() => undefined)
  }
}

function pingTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, 'No Pong came in time')
}
