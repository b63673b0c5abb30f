import { ErrorReason, MeshError } from '@mesh/core'

/** Whether a peer can be reached: 'away' when there was no way to it for 15 s. It may sleep, or be gone. */
export type PeerPresence = 'online' | 'away'

/** As long as a server waits for a peer whose stream broke: a change of network or a restart of the server takes less. */
const AWAY_AFTER_MS = 15_000

const AWAY_LIMIT_MS = 900_000
/** Above it a link ends by itself (LinkLimits.deadMs). */
const MAX_AWAY_LIMIT_MS = 3_600_000

/** SwarmOptions.awayMs, or its default. Throws CONFIGURATION. */
export function awayLimit(awayMs = AWAY_LIMIT_MS): number {
  if (awayMs >= 0 && awayMs <= MAX_AWAY_LIMIT_MS) return awayMs
  throw new MeshError(ErrorReason.CONFIGURATION, `awayMs is ${awayMs}, must be 0 to ${MAX_AWAY_LIMIT_MS}`, {
    limit: 'away_ms',
    limitValue: MAX_AWAY_LIMIT_MS,
  })
}

/** Watches one peer by what its connection knows, whichever path that is: times are the clock's monotonic ones. */
export class Presence {
  #current: PeerPresence = 'online'
  /** Since when there is no way to the peer. */
  #unreachableSinceMs: number | undefined
  /** The lease of the peer ran out at its server, which has waited for it as long, and there is no record since. */
  expired = false

  constructor(nowMs: number) {
    this.#unreachableSinceMs = nowMs
  }

  get current(): PeerPresence {
    return this.#current
  }

  /** How long there has been no way to the peer; 0 while there is one. */
  unreachableForMs(nowMs: number): number {
    return this.#unreachableSinceMs === undefined ? 0 : nowMs - this.#unreachableSinceMs
  }

  /**
   * Takes in whether there is a way to the peer now. `quietForMs`: how long nothing came of it, which counts only when its server
   * says that it heard nothing either. Returns whether the presence changed.
   */
  look(reachable: boolean, nowMs: number, quietForMs = 0): boolean {
    const waitedMs = this.expired ? Math.min(Math.max(quietForMs, 0), AWAY_AFTER_MS) : 0
    if (reachable) this.#unreachableSinceMs = undefined
    else this.#unreachableSinceMs = Math.min(this.#unreachableSinceMs ?? nowMs, nowMs - waitedMs)
    const before = this.#current
    if (reachable) this.#current = 'online'
    else if (this.unreachableForMs(nowMs) >= AWAY_AFTER_MS) this.#current = 'away'
    return this.#current !== before
  }

  /** This side was away itself: the time that passed says nothing of the peer. */
  startOver(nowMs: number): void {
    if (this.#unreachableSinceMs !== undefined) this.#unreachableSinceMs = nowMs
  }
}

/** The error of what is not sent because the peer is away. */
export function asleep(id: string): MeshError {
  return new MeshError(ErrorReason.PEER_ASLEEP, `${id} does not answer; it may be asleep`, { retryable: true })
}
