export type ServingStatus = 'serving' | 'not-serving'

/** Whether the server takes calls, and who wants to know when that changes. */
export class HealthStatus {
  readonly #watchers = new Set<() => void>()
  #status: ServingStatus = 'not-serving'

  get status(): ServingStatus {
    return this.#status
  }

  get watcherCount(): number {
    return this.#watchers.size
  }

  set(status: ServingStatus): void {
    if (status === this.#status) return
    this.#status = status
    for (const watcher of this.#watchers) watcher()
  }

  /** Calls `onChange` after every change until the returned function is called. */
  watch(onChange: () => void): () => void {
    this.#watchers.add(onChange)
    return () => this.#watchers.delete(onChange)
  }
}
