import type { Clock, Timer } from '@mesh/core'
import { Deadline, DeadlineHeap } from '../../../directory/deadline-heap.ts'

/** Something that will happen; keep it to call it off. */
export type Appointment = InLine | Deadline<() => void>

/** An appointment that is not before the one made before it. */
class InLine {
  readonly atMs: number
  readonly run: () => void
  before: InLine | undefined
  after: InLine | undefined
  isOver = false

  constructor(atMs: number, run: () => void, before: InLine | undefined) {
    this.atMs = atMs
    this.run = run
    this.before = before
  }
}

/**
 * Any number of deadlines on one timer of the clock, the earliest first. Nearly all are equally far away (`usualMs`), and nearly
 * all are called off: those are in a line, where either costs nothing. What is later, or before the end of the line, is in a heap.
 */
export class Timetable {
  readonly #clock: Clock
  readonly #usualMs: number
  readonly #heap = new DeadlineHeap<() => void>()
  #first: InLine | undefined
  #last: InLine | undefined
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock, usualMs: number) {
    this.#clock = clock
    this.#usualMs = usualMs
  }

  get nowMs(): number {
    return this.#clock.monotonicMs()
  }

  /** Runs once at that monotonic time, or at the next turn when it has passed. The caller may have read the clock already. */
  at(atMs: number, run: () => void, nowMs = this.nowMs): Appointment {
    const last = this.#last
    const isInLine = (last === undefined || last.atMs <= atMs) && atMs <= nowMs + this.#usualMs
    const appointment = isInLine ? this.#append(new InLine(atMs, run, last)) : this.#heap.add(atMs, run)
    this.#arm()
    return appointment
  }

  /** Harmless after the run. */
  cancel(appointment: Appointment | undefined): void {
    if (appointment instanceof Deadline) this.#heap.remove(appointment)
    else if (appointment !== undefined) this.#remove(appointment)
  }

  /** Stops the timer; whatever was planned does not happen. */
  close(): void {
    this.#timer?.cancel()
    while (this.#due(Number.POSITIVE_INFINITY) !== undefined);
  }

  #append(appointment: InLine): InLine {
    if (this.#last === undefined) this.#first = appointment
    else this.#last.after = appointment
    this.#last = appointment
    return appointment
  }

  #remove(appointment: InLine): void {
    const { before, after, isOver } = appointment
    if (isOver) return
    appointment.isOver = true
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    // What is gone must not lead to what follows: the garbage collector would keep all of that, for a while.
    appointment.before = undefined
    appointment.after = undefined
  }

  /** A deadline that was cancelled lets the timer fire once for nothing: cheaper than moving it every time. */
  #arm(): void {
    const nextMs = this.#nextAtMs
    if (nextMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = nextMs
    this.#timer = this.#clock.schedule(Math.max(0, nextMs - this.nowMs), () => this.#run())
  }

  #run(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    for (let due = this.#due(this.nowMs); due !== undefined; due = this.#due(this.nowMs)) due()
    this.#arm()
  }

  get #nextAtMs(): number {
    const { nextAtMs = Number.POSITIVE_INFINITY } = this.#heap
    return Math.min(nextAtMs, this.#first?.atMs ?? Number.POSITIVE_INFINITY)
  }

  /** Takes out what is due, the earliest first. */
  #due(nowMs: number): (() => void) | undefined {
    const first = this.#first
    if (first === undefined || first.atMs > (this.#heap.nextAtMs ?? Number.POSITIVE_INFINITY)) {
      return this.#heap.popDue(nowMs)
    }
    if (first.atMs > nowMs) return undefined
    this.#remove(first)
    return first.run
  }
}
