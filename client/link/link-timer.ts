import type { Clock, Timer } from '@mesh/core'

/** The one timer of a link. Moving it costs nothing as long as it is not brought forward. */
export class LinkTimer {
  readonly #clock: Clock
  readonly #run: () => void
  #timer: Timer | undefined
  #dueMs = 0

  constructor(clock: Clock, run: () => void) {
    this.#clock = clock
    this.#run = run
  }

  /** Runs at `dueMs` or before: one that is set earlier stays. Undefined: nothing is due, no timer is left. */
  set(dueMs: number | undefined, nowMs: number): void {
    if (this.#timer !== undefined && dueMs !== undefined && this.#dueMs <= dueMs) return
    this.cancel()
    if (dueMs === undefined) return
    this.#dueMs = dueMs
    // Whole milliseconds, rounded up: a timer that comes a fraction early would find nothing due, again and again.
    this.#timer = this.#clock.schedule(Math.max(1, Math.ceil(dueMs - nowMs)), () => {
      this.#timer = undefined
      this.#run()
    })
  }

  cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
