import { ErrorReason, MeshError } from '@mesh/core'

/**
 * Runs asynchronous work without losing order. `run` takes tasks one after another; `settle` begins work at once (several
 * packets are sealed at a time) and hands the results over in the order they were given: at once where there is nothing to
 * wait for. Bounded: past `maxPending` new work is refused.
 */
export class OrderedQueue {
  readonly #maxPending: number
  readonly #onError: (error: MeshError) => void
  #tail: Promise<void> = Promise.resolve()
  #pending = 0

  constructor(maxPending: number, onError: (error: MeshError) => void) {
    this.#maxPending = maxPending
    this.#onError = onError
  }

  get pending(): number {
    return this.#pending
  }

  /** Resolves when everything given so far is done. Never rejects. */
  get idle(): Promise<void> {
    return this.#tail
  }

  /** Starts the task when all before it are done. */
  run(task: () => Promise<void> | void): void {
    if (!this.#refuses()) this.#append(() => task())
  }

  /** Begins work, and hands its result over when all before it are. `ended`: once, whatever became of it. */
  settle<T>(begin: () => T | Promise<T>, deliver: (result: T) => void, ended: () => void = () => {}): void {
    if (this.#refuses()) return ended()
    let work: T | Promise<T>
    try {
      work = begin()
      if (!(work instanceof Promise) && this.#pending === 0) {
        deliver(work)
        return ended()
      }
    } catch (error) {
      work = Promise.reject(error)
    }
    // Whatever fails is reported in its turn, not as an unhandled rejection before it.
    if (work instanceof Promise) work.catch(() => undefined)
    this.#append(async () => {
      try {
        deliver(await work)
      } finally {
        ended()
      }
    })
  }

  #refuses(): boolean {
    if (this.#pending < this.#maxPending) return false
    this.#onError(
      new MeshError(ErrorReason.LIMIT_EXCEEDED, `${this.#pending} pieces of work wait already`, {
        limit: 'pending_work',
        limitValue: this.#maxPending,
        value: this.#pending + 1,
      }),
    )
    return true
  }

  #append(step: () => Promise<void> | void): void {
    this.#pending++
    this.#tail = this.#tail
      .then(step)
      .catch((error: unknown) => this.#onError(MeshError.from(error)))
      .finally(() => {
        this.#pending--
      })
  }
}
