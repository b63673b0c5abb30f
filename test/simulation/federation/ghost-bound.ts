import type { RowFact } from './origin-history.ts'
import type { SimProcess } from './sim-process.ts'
import type { SimServer } from './sim-server.ts'
import type { World } from './world.ts'

/** Rounding of timers and of clocks that run at different speeds. */
const SLACK_MS = 100

/**
 * I4: no row is visible anywhere longer after its deletion than the ghost bound: the lease of its origin, one state
 * interval, one grace for a pause, and the time that a frame can be on its way. What a server cannot do while it is stopped
 * it may do when it goes on.
 */
export class GhostBound {
  readonly #world: World
  readonly #boundMs: number
  /** When each row ended last: the same session may join again, and leave again. */
  readonly #endedMs = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
    const { limits, network, serverCount } = world.settings
    // Directly, or through a third server and its queues too.
    const hops = serverCount > 2 ? 2 : 1
    const queueMs = network.frameMs * network.windowFrames
    const lateMs = hops * (Math.max(...network.deadAfterMs) + network.delayMs + network.jitterMs + queueMs)
    const { federationLeaseMs, federationStateMs, federationPauseGraceMs } = limits
    this.#boundMs = (federationLeaseMs + federationStateMs + federationPauseGraceMs) * 1.01 + lateMs + SLACK_MS
  }

  /** A row ended at its origin: it has to go everywhere. */
  ended(origin: SimServer, row: RowFact): void {
    const endedMs = this.#world.clock.monotonicMs()
    this.#endedMs.set(nameOf(origin, row), endedMs)
    for (const server of this.#world.servers) if (server !== origin) this.#expect(origin, row, server, endedMs)
  }

  /** A row that is shown again, or for the first time, must not be one that ended long ago. */
  check(origin: SimServer, row: RowFact, process: SimProcess): void {
    const endedMs = this.#endedMs.get(nameOf(origin, row))
    if (endedMs === undefined || this.#world.clock.monotonicMs() <= this.#latestMs(endedMs, process)) return
    if (this.#isVisible(origin, row, process)) this.#report(origin, row, process, endedMs)
  }

  #latestMs(endedMs: number, process: SimProcess | undefined): number {
    return Math.max(endedMs, process?.resumedMs ?? 0) + this.#boundMs
  }

  #expect(origin: SimServer, row: RowFact, at: SimServer, endedMs: number): void {
    const { clock } = this.#world
    clock.schedule(this.#latestMs(endedMs, at.process) - clock.monotonicMs(), () => {
      const { process } = at
      if (process === undefined || process.state === 'dead' || this.#endedMs.get(nameOf(origin, row)) !== endedMs)
        return
      const moved = this.#latestMs(endedMs, process) > clock.monotonicMs() + 1
      if (process.state === 'stopped' || moved) {
        // A stopped server is asked again some time after it goes on.
        clock.schedule(1_000, () => this.#expect(origin, row, at, endedMs))
        return
      }
      if (this.#isVisible(origin, row, process)) this.#report(origin, row, process, endedMs)
    })
  }

  #isVisible(origin: SimServer, { topicKey, peer, session }: RowFact, process: SimProcess): boolean {
    const { serverKey } = origin.process as SimProcess
    const homes = process.backplane.homesOf(topicKey, peer)
    if (!homes.some((home) => home.server === serverKey && home.session === session)) return false
    // The same session may have joined again meanwhile.
    return ![...origin.history.table.values()].some(
      (row) => row.peer === peer && row.topicKey === topicKey && row.session === session,
    )
  }

  #report(origin: SimServer, row: RowFact, process: SimProcess, endedMs: number): void {
    const client = this.#world.clientOf(row.peer)?.index
    const ageMs = Math.round(this.#world.clock.monotonicMs() - endedMs)
    const topic = this.#world.topicKeys.indexOf(row.topicKey)
    this.#world.violation(
      `I4 server ${process.index}: shows client ${client} in topic ${topic} at server ${origin.index} ${ageMs} ms after it was gone`,
    )
  }
}

function nameOf({ index }: SimServer, { topicKey, peer, session }: RowFact): string {
  return `${index} ${topicKey}${peer}${session}`
}
