import type { Clock, Timer } from '@mesh/core'

interface Event {
  readonly dueMs: number
  readonly order: number
  run: (() => void) | undefined
}

/**
 * A clock for simulations of many small events: a binary heap, and microtasks between events instead of turns of the
 * event loop, which makes a thousand simulated seconds cost milliseconds.
 */
export class SimClock implements Clock {
  readonly #heap: Event[] = []
  #nowMs = 0
  #order = 0
  #live = 0
  readonly #afterEvent: () => void

  /** `afterEvent` is called after every event, once what it set off has come to rest. */
  constructor(afterEvent: () => void = () => undefined) {
    this.#afterEvent = afterEvent
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_767_225_600_000 + this.#nowMs
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#live
  }

  schedule(delayMs: number, run: () => void): Timer {
    const event: Event = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run }
    this.#push(event)
    this.#live += 1
    return {
      cancel: () => {
        if (event.run !== undefined) this.#live -= 1
        event.run = undefined
      },
    }
  }

  /** Runs every event until `untilMs`, and sets the time to it. */
  async runUntil(untilMs: number): Promise<void> {
    await settle()
    for (let event = this.#heap[0]; event !== undefined && event.dueMs <= untilMs; event = this.#heap[0]) {
      this.#pop()
      const { run } = event
      if (run === undefined) continue
      event.run = undefined
      this.#live -= 1
      this.#nowMs = event.dueMs
      run()
      await settle()
      this.#afterEvent()
    }
    this.#nowMs = untilMs
    // A turn of the event loop: what still reads from a queue finishes.
    await new Promise((resolve) => setImmediate(resolve))
  }

  #push(event: Event): void {
    const heap = this.#heap
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(event, heap[parent] as Event)) break
      heap[index] = heap[parent] as Event
      index = parent
    }
    heap[index] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child += 1
      if (!before(heap[child] as Event, last)) break
      heap[index] = heap[child] as Event
      index = child
    }
    heap[index] = last
  }
}

function before(a: Event, b: Event): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}

/** Enough microtasks for a chunk to pass through a WHATWG stream. */
async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await undefined
}
