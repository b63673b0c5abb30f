import type { SimProcess } from '../servers/sim-process.ts'
import type { SimServer } from '../servers/sim-server.ts'
import type { World } from '../world.ts'
import type { LeaseWatch } from './lease-watch.ts'
import type { EndedRow, RowFact } from './origin-history.ts'

/** Rounding of timers and of clocks that run at different speeds. */
const SLACK_MS = 100

interface End {
  readonly origin: SimServer
  readonly row: EndedRow
  readonly ms: number
}

/**
 * I4: no row is visible anywhere longer after its deletion than the ghost bound, which has two parts.
 *
 *  - At each server, by what it was told: a lease after the first state that is newer than the row, and one grace after a
 *    stop (`LeaseWatch`).
 *  - Over all: a lease, one state interval, one grace, and as long as a state can be on its way before the stream that it is on
 *    is known to be dead.
 *
 * What a server cannot do while it is stopped it may do when it goes on.
 */
export class GhostBound {
  readonly #world: World
  readonly #leases: LeaseWatch
  readonly #boundMs: number
  /** How each row ended last: the same session may join again, and leave again. */
  readonly #ends = new Map<string, End>()

  constructor(world: World, leases: LeaseWatch) {
    this.#world = world
    this.#leases = leases
    const { limits, network, serverCount } = world.settings
    // Directly, or through a third server and its queues too.
    const hops = serverCount > 2 ? 2 : 1
    const queueMs = network.frameMs * network.windowFrames
    const lateMs = hops * (Math.max(...network.deadAfterMs) + network.delayMs + network.jitterMs + queueMs)
    const { federationLeaseMs, federationStateMs, federationPauseGraceMs } = limits
    this.#boundMs = (federationLeaseMs + federationStateMs + federationPauseGraceMs) * 1.01 + lateMs + SLACK_MS
  }

  /** A row ended at its origin: it has to go everywhere. */
  ended(origin: SimServer, row: EndedRow): void {
    const end = { origin, row, ms: this.#world.clock.monotonicMs() }
    this.#ends.set(nameOf(origin, row), end)
    for (const server of this.#world.servers) if (server !== origin) this.#expect(end, server)
  }

  /** A row that is shown again, or for the first time, must not be one that ended long ago. */
  check(origin: SimServer, row: RowFact, process: SimProcess): void {
    const end = this.#ends.get(nameOf(origin, row))
    if (end === undefined || this.#world.clock.monotonicMs() <= this.#latestMs(end, process)) return
    if (this.#isVisible(origin, row, process)) this.#report(end, process)
  }

  #latestMs({ origin, row, ms }: End, process: SimProcess | undefined): number {
    const latestMs = Math.max(ms, process?.resumedMs ?? 0) + this.#boundMs
    if (process === undefined) return latestMs
    const shownUntilMs = this.#leases.shownUntilMs(process, origin.index, row.epoch, row.seq)
    return Math.min(latestMs, Math.max(ms, process.resumedMs, shownUntilMs) + SLACK_MS)
  }

  /** Looks again whenever the row has to be gone by what is known then, and that is later than it was. */
  #expect(end: End, at: SimServer): void {
    const { clock } = this.#world
    const { origin, row } = end
    const waitMs = Math.max(1, this.#latestMs(end, at.process) - clock.monotonicMs())
    clock.schedule(waitMs, () => {
      const { process } = at
      if (process === undefined || process.state === 'dead' || this.#ends.get(nameOf(origin, row)) !== end) return
      if (process.state === 'stopped') clock.schedule(1_000, () => this.#expect(end, at))
      else if (!this.#isVisible(origin, row, process)) return
      else if (this.#latestMs(end, process) > clock.monotonicMs()) this.#expect(end, at)
      else this.#report(end, process)
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

  #report({ origin, row, ms }: End, process: SimProcess): void {
    const client = this.#world.clientOf(row.peer)?.index
    const ageMs = Math.round(this.#world.clock.monotonicMs() - ms)
    const topic = this.#world.topicKeys.indexOf(row.topicKey)
    this.#world.violation(
      `I4 server ${process.index}: shows client ${client} in topic ${topic} at server ${origin.index} ${ageMs} ms after it was gone`,
    )
  }
}

function nameOf({ index }: SimServer, { topicKey, peer, session }: RowFact): string {
  return `${index} ${topicKey}${peer}${session}`
}
