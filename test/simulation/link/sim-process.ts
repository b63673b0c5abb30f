import type { Random } from '@mesh/core'
import { watchForGaps } from '../../../client/lifecycle.ts'
import type { Link } from '../../../client/link/index.ts'
import type { SimClock } from '../sim-clock.ts'
import { type Sleep, SleepyClock } from '../sleepy-clock.ts'

/** A process of a peer: it may sleep, and what comes meanwhile waits for it; it may die, and nothing of it runs any more. */
export class SimProcess {
  readonly clock: SleepyClock
  readonly links = new Set<Link>()
  /** The server believes that the process is there, and passes on what is for it. */
  listed = true
  readonly #random: Random
  readonly #waiting: (() => void)[] = []
  readonly #unwatch: () => void
  #alive = true

  constructor(world: SimClock, random: Random) {
    this.#random = random
    this.clock = new SleepyClock(world)
    // As a client does when its platform tells that it slept.
    this.#unwatch = watchForGaps(
      this.clock,
      () => 5_000,
      () => {
        for (const link of this.links) link.check()
      },
    )
  }

  get alive(): boolean {
    return this.#alive
  }

  get asleep(): boolean {
    return this.clock.asleep
  }

  /** Something happens to the process: now, when it wakes and after what came before, or never. */
  run(event: () => void): void {
    if (!this.#alive) return
    if (this.asleep || this.#waiting.length > 0) this.#waiting.push(event)
    else event()
  }

  sleep(kind: Sleep): void {
    this.clock.sleep(kind)
  }

  /** Timers that are overdue run, and then what waited in sockets: in the same turn, or a turn later. */
  wake(): void {
    this.clock.wake()
    const drain = (): void => {
      for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) event()
    }
    if (this.#random.uniform() < 0.5) drain()
    else this.clock.schedule(0, drain)
  }

  die(): void {
    this.#alive = false
    this.#unwatch()
    this.clock.die()
    this.#waiting.length = 0
  }

  /** Stops to look for sleep, so that nothing but the links keeps timers. */
  rest(): void {
    this.#unwatch()
  }
}
