import type { Clock, Timer } from '@mesh/core'

/**
 * How a machine sleeps.
 *
 *  - 'stopped' is a process under SIGSTOP, or a frozen page: all its clocks go on.
 *  - 'suspended' is a laptop with its lid closed: the monotonic clock stands, the wall clock goes on.
 */
export type Sleep = 'stopped' | 'suspended'

/** Sums of fractions are not exact: a timer that is early by less is on time. */
const ROUNDING_MS = 0.001

interface Held {
  readonly dueMs: number
  readonly run: () => void
}

/** The clock of one machine that may sleep: its timers wait for the end of the sleep, and then run in their order. */
export class SleepyClock implements Clock {
  readonly #world: Clock
  readonly #held = new Set<Held>()
  readonly #armed = new Set<Timer>()
  #asleepSinceMs: number | undefined
  #kind: Sleep = 'stopped'
  #stoodMs = 0
  #awake = Promise.withResolvers<void>()

  constructor(world: Clock) {
    this.#world = world
    this.#awake.resolve()
  }

  get asleep(): boolean {
    return this.#asleepSinceMs !== undefined
  }

  /** Resolves when the machine is awake. */
  get awake(): Promise<void> {
    return this.#awake.promise
  }

  monotonicMs(): number {
    const nowMs = this.#world.monotonicMs()
    const standsMs = this.asleep && this.#kind === 'suspended' ? nowMs - (this.#asleepSinceMs ?? 0) : 0
    return nowMs - this.#stoodMs - standsMs
  }

  wallMs(): number {
    return this.#world.wallMs()
  }

  schedule(delayMs: number, run: () => void): Timer {
    const dueMs = this.monotonicMs() + Math.max(0, delayMs)
    let timer: Timer
    let held: Held | undefined
    const arm = (): void => {
      held = undefined
      timer = this.#world.schedule(dueMs - this.monotonicMs(), () => {
        this.#armed.delete(timer)
        const fire = (): void => (this.monotonicMs() < dueMs - ROUNDING_MS ? arm() : run())
        if (!this.asleep) return fire()
        held = { dueMs, run: fire }
        this.#held.add(held)
      })
      this.#armed.add(timer)
    }
    arm()
    return {
      cancel: () => {
        timer.cancel()
        this.#armed.delete(timer)
        if (held) this.#held.delete(held)
      },
    }
  }

  sleep(kind: Sleep): void {
    this.#asleepSinceMs = this.#world.monotonicMs()
    this.#kind = kind
    this.#awake = Promise.withResolvers()
  }

  wake(): void {
    if (this.#asleepSinceMs === undefined) return
    if (this.#kind === 'suspended') this.#stoodMs += this.#world.monotonicMs() - this.#asleepSinceMs
    this.#asleepSinceMs = undefined
    for (const held of [...this.#held].sort((a, b) => a.dueMs - b.dueMs)) {
      // One that ran before may have cancelled it.
      if (this.#held.delete(held)) held.run()
    }
    this.#awake.resolve()
  }

  /** The process died: none of its timers run any more. */
  die(): void {
    this.sleep('stopped')
    for (const timer of this.#armed) timer.cancel()
    this.#armed.clear()
    this.#held.clear()
  }
}
