import type { LinkLimits } from './link-limits.ts'
import { Liveness } from './liveness.ts'
import type { PathState } from './path-state.ts'
import type { Paths } from './paths.ts'
import { earliest } from './recovery.ts'
import type { Sending } from './sending.ts'

// Judges the paths of a link by what came back: by pings (liveness) and by acknowledgements (recovery). A direct path that
// brings nothing is dead, and the relay path takes over. A relay path that brings nothing is silent: the other side may
// sleep, and is asked less and less often, until after a very long time the link is over.

export interface WatchOptions {
  readonly limits: LinkLimits
  readonly paths: Paths
  readonly sending: Sending
  /** The path, or the link without one, had its time. */
  readonly dead: (path: PathState | undefined) => void
  readonly silenceChanged: (silent: boolean) => void
}

type Judgement = 'alive' | 'silent' | 'dead'

export class Watch {
  readonly #options: WatchOptions
  readonly #liveness: Liveness

  constructor(options: WatchOptions) {
    this.#options = options
    this.#liveness = new Liveness(options.limits)
  }

  /** A path became usable, or is not any more: the direct one is watched while it is. */
  usable(path: PathState, usable: boolean, nowMs: number): void {
    this.#liveness.watch(path, usable && path.name === 'direct', nowMs)
  }

  /** The relay path is quiet by design: it is watched only while data waits for nothing but the other side's credit. */
  waitsForCredit(waits: boolean, nowMs: number): void {
    this.#liveness.watch(this.#options.paths.relay, waits, nowMs)
  }

  /** See Link.ping. */
  ping(path: PathState, nowMs: number): Promise<number> {
    return this.#liveness.ping(path, nowMs)
  }

  /** A packet came by the path. */
  heard(path: PathState, nowMs: number): void {
    const { paths, sending } = this.#options
    this.#liveness.heard(path, nowMs)
    if (path === paths.relay) this.#liveness.doubt(paths.direct, nowMs)
    sending.recovery.heard(nowMs)
    if (paths.relay.silent) this.startOver(nowMs)
  }

  /** The past counts for nothing any more: asks the direct path, and lets what waits be sent again. */
  startOver(nowMs: number): void {
    const { paths, sending } = this.#options
    this.#liveness.probe(paths.direct, nowMs)
    this.setSilent(false)
    sending.recovery.hurry(nowMs)
  }

  /** Does what is due. */
  run(nowMs: number): void {
    const { paths, sending } = this.#options
    for (const path of paths.all) this.#judge(this.#liveness.check(path, nowMs), path)
    this.#judge(sending.check(paths.active, nowMs), paths.active)
  }

  /** When `run` has something to do. */
  dueMs(): number | undefined {
    const { paths, sending } = this.#options
    let dueMs = sending.recovery.dueMs(paths.active)
    for (const path of paths.all) dueMs = earliest(dueMs, this.#liveness.dueMs(path))
    return dueMs
  }

  setSilent(silent: boolean): void {
    const { paths, silenceChanged } = this.#options
    if (paths.relay.silent === silent) return
    paths.relay.silent = silent
    silenceChanged(silent)
  }

  #judge(judgement: Judgement, path: PathState | undefined): void {
    if (judgement === 'dead') this.#options.dead(path)
    else if (judgement === 'silent') this.setSilent(true)
  }
}
