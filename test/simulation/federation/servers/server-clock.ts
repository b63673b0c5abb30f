import type { Clock, Timer } from '@mesh/core'
import type { SimClock } from '../../sim-clock.ts'

/** What runs the code of one server: at once, late when the process is stopped, never when it is dead. */
export interface Process {
  run(work: () => void): void
}

export interface ServerClockOptions {
  readonly world: SimClock
  readonly process: Process
  /** Milliseconds of this clock for each of the world: close to 1. */
  readonly rate: number
  /** What the monotonic clock shows at first: it has no common start. */
  readonly startMonotonicMs: number
  /** How far the wall clock is off at first. */
  readonly wallOffsetMs: number
  /** Timers fire again and again while no time passes to speak of. */
  readonly spins: () => void
}

/**
 * Timers of one process that may fire within one millisecond: flushes, receipts and leases of a few servers and clients. They
 * are 13 at most; a timer that sets itself anew for a time that has passed fires about 500 times.
 */
const MAX_FIRINGS = 100

/** Timers fire on a grid of a microsecond, never early, so that a deadline and the clock cannot miss each other by rounding. */
const GRAIN_MS = 1e-3

/** The clocks of one server: each runs at its own speed from its own start, and timers wait while the process is stopped. */
export class ServerClock implements Clock {
  readonly #options: ServerClockOptions
  readonly #bornMs: number
  #wallOffsetMs: number
  #countedMs = 0
  #fired = 0

  constructor(options: ServerClockOptions) {
    this.#options = options
    this.#bornMs = options.world.monotonicMs()
    this.#wallOffsetMs = options.wallOffsetMs
  }

  monotonicMs(): number {
    const { world, rate, startMonotonicMs } = this.#options
    return startMonotonicMs + (world.monotonicMs() - this.#bornMs) * rate
  }

  wallMs(): number {
    const { world, rate } = this.#options
    const drift = (world.monotonicMs() - this.#bornMs) * (rate - 1)
    return Math.floor(world.wallMs() + drift + this.#wallOffsetMs)
  }

  /** Sets the wall clock alone, as an operator or NTP does. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms
  }

  schedule(delayMs: number, run: () => void): Timer {
    const { world, rate, process } = this.#options
    const worldDelayMs = Math.ceil(Math.max(0, delayMs) / rate / GRAIN_MS + 1) * GRAIN_MS
    let cancelled = false
    // A timer that is due while the process is stopped may still be cancelled by what runs before it.
    const timer = world.schedule(worldDelayMs, () => process.run(() => cancelled || this.#fire(run)))
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      },
    }
  }

  #fire(run: () => void): void {
    const nowMs = Math.floor(this.#options.world.monotonicMs())
    if (nowMs !== this.#countedMs) this.#fired = 0
    this.#countedMs = nowMs
    this.#fired += 1
    if (this.#fired === MAX_FIRINGS) this.#options.spins()
    run()
  }
}
