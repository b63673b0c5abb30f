import { ErrorReason, MeshError } from '@mesh/core'

/**
 * Runs asynchronous work without losing order. `run` takes tasks one after another; `settle` takes work that is already under
 * way (several packets are sealed at once) and hands the results over in the order they were given. Bounded: past
 * `maxPending` new work is refused.
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
    this.#append(() => task())
  }

  /** Hands a result over when all before it are. */
  settle<T>(work: Promise<T>, deliver: (result: T) => void): void {
    // Whatever fails is reported in its turn, not as an unhandled rejection before it.
    work.catch(() => undefined)
    this.#append(async () => deliver(await work))
  }

  #append(step: () => Promise<void> | void): void {
    if (this.#pending >= this.#maxPending) {
      return this.#onError(
        new MeshError(ErrorReason.LIMIT_EXCEEDED, `${this.#pending} pieces of work wait already`, {
          limit: 'pending_work',
          limitValue: this.#maxPending,
          value: this.#pending + 1,
        }),
      )
    }
    this.#pending++
    this.#tail = this.#tail
      .then(step)
      .catch((error: unknown) => this.#onError(MeshError.from(error)))
      .finally(() => {
        this.#pending--
      })
  }
}
