import type { MeshError, Random, SigningKey } from '@mesh/core'
import { FederatedBackplane } from '../../../../server/backplane/federation/federated-backplane.ts'
import type { StreamEvents, TrunkStream } from '../../../../server/backplane/federation/trunk/trunk.ts'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { TopicChange } from '../../../../server/directory/directory.ts'
import { createDomain, type Domain } from '../../../../server/domain.ts'
import type { ServerLimits } from '../../../../server/limits/server-limits.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import { silentLogger } from '../../../../server/ops/log.ts'
import type { OriginHistory } from '../checks/origin-history.ts'
import { ServerClock } from './server-clock.ts'
import { type Host, type SimNetwork, urlOf } from './sim-network.ts'
import { standInVerify } from './stand-in-keys.ts'

export interface ProcessOptions {
  readonly index: number
  /** Which start of the server this is. */
  readonly boot: number
  readonly key: SigningKey
  /** Keys of all servers, by index. */
  readonly keys: readonly Uint8Array[]
  readonly limits: ServerLimits
  readonly random: Random
  readonly network: SimNetwork
  readonly history: OriginHistory
  readonly clock: { readonly rate: number; readonly startMonotonicMs: number; readonly wallOffsetMs: number }
  /** Called before code of this process runs. */
  readonly touched: (process: SimProcess) => void
  readonly changed: (process: SimProcess, change: TopicChange) => void
  /** The own directory changed, before anybody heard of it. */
  readonly ownChanged: (process: SimProcess, change: TopicChange) => void
  /** Another server was refused for what it did. */
  readonly refused: (process: SimProcess, error: MeshError) => void
  /** The process is busy, and time does not pass. */
  readonly spins: () => void
  /** The process would have crashed of this. */
  readonly uncaught: (process: SimProcess, error: unknown) => void
}

/** A time in which a process did not run. */
export interface Stop {
  readonly fromMs: number
  readonly untilMs: number
}

/** A process after code of it ran and everything came to rest, and what it holds of each origin then. */
export interface Step {
  readonly process: SimProcess
  /** Its own memberships first. */
  readonly origins: readonly OriginStatus[]
}

/** One start of a server, without HTTP: the real domain over the real federation, on clocks and a network of its own. */
export class SimProcess implements Host {
  readonly index: number
  readonly boot: number
  readonly serverKey: ByteKey
  readonly clock: ServerClock
  readonly limits: ServerLimits
  readonly history: OriginHistory
  readonly domain: Domain
  readonly backplane: FederatedBackplane
  state: Host['state'] = 'running'
  reachable = true
  accept: ((stream: TrunkStream) => StreamEvents) | undefined
  /** World time of the last `resume`. */
  resumedMs = Number.NEGATIVE_INFINITY
  /** Every stop that is over, in world time. */
  readonly stops: Stop[] = []
  #stoppedMs = 0
  readonly #options: ProcessOptions
  readonly #waiting: (() => void)[] = []

  constructor(options: ProcessOptions) {
    this.#options = options
    this.index = options.index
    this.boot = options.boot
    this.limits = options.limits
    this.history = options.history
    this.serverKey = byteKey(options.key.publicKey)
    const { network, random, limits, keys } = options
    this.clock = new ServerClock({
      world: network.options.clock,
      process: this,
      ...options.clock,
      spins: options.spins,
    })
    const trunk = network.trunk(this, (accept) => {
      this.accept = accept
    })
    const others = keys.map((key, index) => ({ key, url: urlOf(index) })).filter((_, index) => index !== options.index)
    let backplane: FederatedBackplane | undefined
    this.domain = createDomain({
      limits,
      clock: this.clock,
      random,
      backplane: (directory) => {
        const epochNow = (): bigint => backplane?.origins()[0]?.epoch ?? 0n
        options.history.observe(directory, epochNow, (change) => options.ownChanged(this, change))
        backplane = new FederatedBackplane({
          key: options.key,
          federation: { realm: 'simulated', servers: others },
          directory,
          trunk,
          limits,
          clock: this.clock,
          random,
          verify: standInVerify,
          log: silentLogger,
          onRefused: (error) => options.refused(this, error),
        })
        return backplane
      },
    })
    this.backplane = backplane as unknown as FederatedBackplane
    this.run(() => this.backplane.start())
    this.backplane.watch((change) => options.changed(this, change))
  }

  /** Runs code of this process: now, when it goes on, or never. */
  run(work: () => void): void {
    if (this.state === 'dead') return
    if (this.state === 'stopped') {
      this.#waiting.push(work)
      return
    }
    this.#options.touched(this)
    try {
      work()
    } catch (error) {
      this.#options.uncaught(this, error)
    }
  }

  /** As SIGSTOP does: time passes, and nothing of this process runs. */
  stop(): void {
    if (this.state !== 'running') return
    this.state = 'stopped'
    this.#stoppedMs = this.#options.network.options.clock.monotonicMs()
    this.#options.network.hostChanged(this)
  }

  /** What was due meanwhile runs now, in the order in which it was due. */
  resume(): void {
    if (this.state !== 'stopped') return
    this.state = 'running'
    this.resumedMs = this.#options.network.options.clock.monotonicMs()
    this.stops.push({ fromMs: this.#stoppedMs, untilMs: this.resumedMs })
    this.#options.network.hostChanged(this)
    for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) this.run(work)
  }

  die(how: 'reset' | 'silence'): void {
    this.state = 'dead'
    this.reachable = how === 'reset'
    this.#waiting.length = 0
    this.#options.network.kill(this, how)
  }
}
