/**
 * Notices that this process was paused (stopped, suspended, swapped out): something that was due happened far too late.
 * Whoever judges others by their silence must not count that time.
 */
export class PauseWatch {
  readonly #toleranceMs: number
  #dueMs: number

  constructor(nowMs: number, toleranceMs: number) {
    this.#dueMs = nowMs
    this.#toleranceMs = toleranceMs
  }

  /** Whether there was a pause before `nowMs`; the next call is due at `nextMs`. Once per pause. */
  wasPaused(nowMs: number, nextMs: number): boolean {
    const isLate = nowMs - this.#dueMs > this.#toleranceMs
    this.#dueMs = nextMs
    return isLate
  }
}
