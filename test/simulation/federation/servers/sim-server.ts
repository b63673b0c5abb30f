import type { Random, SigningKey } from '@mesh/core'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import { OriginHistory } from '../checks/origin-history.ts'
import type { World } from '../world.ts'
import { SimProcess } from './sim-process.ts'

/** How far clocks of servers may be off: ten minutes, and one part in a thousand. */
const WALL_OFFSET_MS = 600_000
const RATE_ERROR = 1e-3

/** One server of the simulated world: a machine with a key and clocks, on which processes start and die. */
export class SimServer {
  readonly index: number
  readonly key: SigningKey
  /** The key as replication names the server. */
  readonly name: ByteKey
  readonly history = new OriginHistory()
  readonly #world: World
  readonly #random: Random
  readonly #rate: number
  #wallOffsetMs: number
  #boots = 0
  readonly #startsMs: number[] = []
  /** The process that runs, is stopped, or was the last to die. */
  process: SimProcess | undefined

  constructor(world: World, index: number, key: SigningKey, random: Random) {
    this.#world = world
    this.index = index
    this.key = key
    this.name = byteKey(key.publicKey)
    this.#random = random
    this.#rate = 1 + (random.uniform() * 2 - 1) * RATE_ERROR
    this.#wallOffsetMs = Math.round((random.uniform() * 2 - 1) * WALL_OFFSET_MS)
  }

  /** How often it started since a time. */
  startsSince(ms: number): number {
    return this.#startsMs.filter((startMs) => startMs >= ms).length
  }

  get isUp(): boolean {
    return this.process !== undefined && this.process.state !== 'dead'
  }

  /** A new process, which holds nothing. Its clock may have been set back since the last one. */
  start(): void {
    if (this.isUp) return
    if (this.#boots > 0 && this.#random.uniform() < 0.3) {
      this.#wallOffsetMs -= Math.round(this.#random.uniform() * WALL_OFFSET_MS)
    }
    this.#boots += 1
    this.#startsMs.push(this.#world.clock.monotonicMs())
    this.#world.trace(`server ${this.index} starts, boot ${this.#boots}, wall clock off by ${this.#wallOffsetMs} ms`)
    this.process = new SimProcess({
      index: this.index,
      boot: this.#boots,
      key: this.key,
      keys: this.#world.serverKeys,
      limits: this.#world.settings.limits,
      random: this.#world.newRandom(),
      network: this.#world.network,
      history: this.history,
      clock: {
        rate: this.#rate,
        startMonotonicMs: this.#random.uniform() * 1e6,
        wallOffsetMs: this.#wallOffsetMs,
      },
      touched: (process) => this.#world.touched(process),
      changed: (process, change) => this.#world.changed(process, change),
      ownChanged: (process, { topicKey }) => this.#world.invariants.onOwnChange(process, topicKey),
      refused: (process, error) => this.#world.invariants.onRefused(process, error),
      spins: () => this.#world.violation(`I8 server ${this.index}: its timers fire again and again at one time`),
      uncaught: (process, error) => this.#world.uncaught(process, error),
    })
    this.#world.touched(this.process)
  }

  crash(how: 'reset' | 'silence'): void {
    const { process } = this
    if (process === undefined || !this.isUp) return
    this.#world.trace(`server ${this.index} ${how === 'reset' ? 'is killed' : 'falls silent'}`)
    this.#world.count('crashes')
    process.die(how)
    this.#world.serverDied(this, process, how)
  }

  pause(): void {
    this.#world.trace(`server ${this.index} is stopped`)
    this.#world.count('pauses')
    this.process?.stop()
    this.#world.serverPaused(this)
  }

  resume(): void {
    if (this.process?.state !== 'stopped') return
    this.#world.trace(`server ${this.index} goes on`)
    this.process.resume()
  }

  /** Somebody sets the wall clock. */
  stepWall(ms: number): void {
    this.#world.trace(`the wall clock of server ${this.index} jumps by ${ms} ms`)
    this.#wallOffsetMs += ms
    this.process?.clock.stepWall(ms)
  }
}
