import type { Clock, Timer } from './clock.ts'

/** 2026-01-01T00:00:00Z: an ordinary date, so that arithmetic on wall time is exercised. */
const DEFAULT_START_WALL_MS = 1_767_225_600_000

export interface VirtualClockOptions {
  /**
   * Awaited after every timer and once before the first: must return when the code under test has come to rest.
   * Default: one turn of the event loop, which runs every pending microtask. Give your own where work also waits for
   * other things, such as WebCrypto in a thread pool.
   */
  settle?: () => Promise<void>
}

interface Scheduled {
  readonly dueMs: number
  readonly order: number
  readonly run: () => void
}

/** A clock that moves only when told to. Timers run in order of due time, then of scheduling. */
export class VirtualClock implements Clock {
  #nowMs = 0
  #wallOffsetMs: number
  #order = 0
  readonly #timers = new Set<Scheduled>()
  readonly #settle: () => Promise<void>

  constructor(startWallMs: number = DEFAULT_START_WALL_MS, options: VirtualClockOptions = {}) {
    this.#wallOffsetMs = startWallMs
    this.#settle = options.settle ?? nextTurn
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return Math.floor(this.#nowMs + this.#wallOffsetMs)
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer: Scheduled = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }

  /** Timers that have neither run nor been cancelled. */
  get pending(): number {
    return this.#timers.size
  }

  /** Milliseconds until the next timer is due; undefined when there is none. */
  get msUntilNext(): number | undefined {
    const next = this.#next()
    return next === undefined ? undefined : next.dueMs - this.#nowMs
  }

  /**
   * Moves time forward by `ms`, stopping at every due timer on the way (those that timers schedule included) and
   * letting the code under test come to rest between them. A timer that throws rejects the call.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`Time does not go back (${ms} ms)`)
    const untilMs = this.#nowMs + ms
    await this.#settle()
    for (let timer = this.#next(); timer !== undefined && timer.dueMs <= untilMs; timer = this.#next()) {
      this.#nowMs = timer.dueMs
      this.#timers.delete(timer)
      timer.run()
      await this.#settle()
    }
    this.#nowMs = untilMs
  }

  /** Moves the wall clock alone, as an operator or NTP does. */
  skewWall(ms: number): void {
    this.#wallOffsetMs += ms
  }

  #next(): Scheduled | undefined {
    let first: Scheduled | undefined
    for (const timer of this.#timers) {
      if (first === undefined || timer.dueMs < first.dueMs) first = timer
    }
    return first
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    else setTimeout(resolve, 0)
  })
}
