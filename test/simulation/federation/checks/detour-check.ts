import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess } from '../servers/sim-process.ts'
import type { World } from '../world.ts'

/** States in a lease from which on there is time to miss two, to ask others, and to be answered. */
const STATES_IN_LEASE = 5
/** Leases for which the way through the third server must have held. */
const CALM_LEASES = 1.5
/** One-way trips between the silence and the answer, with what waits for credit, of a lease. */
const TRIPS = 6
const TRIPS_SHARE = 0.2

/**
 * I4, for two servers that lost each other: as long as a third one reaches both, neither gives up the other's rows. Judged
 * where that can be asked for: where leases leave the time, nothing is lost on the way, and the line takes what has to go.
 */
export class DetourCheck {
  readonly #world: World
  readonly #isJudged: boolean
  readonly #states = new WeakMap<SimProcess, Map<number, OriginStatus['state']>>()

  constructor(world: World) {
    this.#world = world
    const { limits, network } = world.settings
    const { federationLeaseMs, federationStateMs, federationFlushMs, federationCreditFrames } = limits
    const tripMs = network.delayMs + network.jitterMs + federationFlushMs
    const isWide = network.frameMs < 1 && network.windowFrames >= 16 && federationCreditFrames >= 16
    const isInTime =
      federationLeaseMs >= STATES_IN_LEASE * federationStateMs && TRIPS * tripMs <= TRIPS_SHARE * federationLeaseMs
    this.#isJudged = isWide && isInTime && !world.isTampered
  }

  check(process: SimProcess): void {
    if (!this.#isJudged) return
    const before = this.#states.get(process) ?? new Map<number, OriginStatus['state']>()
    this.#states.set(process, before)
    for (const { key, state } of process.backplane.origins()) {
      const index = key[0] as number
      if (state === 'hidden' && before.get(index) === 'live') this.#judge(index, process)
      before.set(index, state)
    }
  }

  #judge(origin: number, process: SimProcess): void {
    const third = this.#world.servers.find(
      ({ index }) => this.#reaches(index, origin) && this.#reaches(index, process.index),
    )
    if (third === undefined) return
    this.#world.violation(
      `I4 server ${process.index}: gave up server ${origin}, and server ${third.index} hears both all the time`,
    )
  }

  /** Whether nothing was wrong between two servers for longer than a lease. */
  #reaches(a: number, b: number): boolean {
    if (a === b) return false
    const { network, clock, settings, servers } = this.#world
    const calmMs = CALM_LEASES * settings.limits.federationLeaseMs
    const sinceMs = clock.monotonicMs() - calmMs
    if (network.disturbedMs(a, b) > sinceMs) return false
    return [[a, b] as const, [b, a] as const].every(([from, to]) => {
      const { process } = servers[from] ?? {}
      if (process?.state !== 'running' || process.resumedMs > sinceMs) return false
      const { neighbours } = process.backplane.status()
      const upMs = neighbours.find(({ key }) => key[0] === to)?.upMs.directory
      return upMs !== undefined && upMs > calmMs
    })
  }
}
