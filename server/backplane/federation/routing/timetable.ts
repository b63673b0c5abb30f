import type { Clock, Timer } from '@mesh/core'
import { type Deadline, DeadlineHeap } from '../../../directory/deadline-heap.ts'

/** Something that will happen; keep it to call it off. */
export type Appointment = Deadline<() => void>

/** Any number of deadlines on one timer of the clock, the earliest first. */
export class Timetable {
  readonly #clock: Clock
  readonly #deadlines = new DeadlineHeap<() => void>()
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get nowMs(): number {
    return this.#clock.monotonicMs()
  }

  /** Runs once at that monotonic time, or at the next turn when it has passed. */
  at(atMs: number, run: () => void): Appointment {
    const appointment = this.#deadlines.add(atMs, run)
    this.#arm()
    return appointment
  }

  /** Harmless after the run. */
  cancel(appointment: Appointment | undefined): void {
    if (appointment !== undefined) this.#deadlines.remove(appointment)
  }

  /** Stops the timer; whatever was planned does not happen. */
  close(): void {
    this.#timer?.cancel()
    while (this.#deadlines.popDue(Number.POSITIVE_INFINITY) !== undefined);
  }

  /** A deadline that was cancelled lets the timer fire once for nothing: cheaper than moving it every time. */
  #arm(): void {
    const nextMs = this.#deadlines.nextAtMs
    if (nextMs === undefined || nextMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = nextMs
    this.#timer = this.#clock.schedule(Math.max(0, nextMs - this.nowMs), () => this.#run())
  }

  #run(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    for (let due = this.#due(); due !== undefined; due = this.#due()) due()
    this.#arm()
  }

  #due(): (() => void) | undefined {
    return this.#deadlines.popDue(this.nowMs)
  }
}
