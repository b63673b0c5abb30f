import { ErrorReason, MeshError } from '@mesh/core'
import { abortable } from '../delay.ts'

/** Typed events. A listener that throws does not keep the others from hearing; its error goes to `onError`. */
export class Emitter<Events extends Record<string, unknown>> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** Calls `listener` for every event until the returned function is called. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    let listeners = this.#listeners.get(name)
    if (!listeners) {
      listeners = new Set()
      this.#listeners.set(name, listeners)
    }
    // One registration each, also for a listener that is given twice.
    const registered = (event: Events[Name]) => listener(event)
    listeners.add(registered)
    return () => listeners.delete(registered)
  }

  /** Resolves with the next event of that name; rejects when aborted first. */
  once<Name extends keyof Events>(name: Name, signal: AbortSignal): Promise<Events[Name]> {
    let off = () => {}
    const next = new Promise<Events[Name]>((resolve) => {
      off = this.on(name, resolve)
    })
    return abortable(next, signal).finally(off)
  }

  /** Whether anybody listens. */
  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        ;(listener as (event: Events[Name]) => void)(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}

/** For errors of listeners that have nowhere else to go: the runtime reports what nobody catches. */
export function throwLater(cause: unknown): void {
  const error = new MeshError(ErrorReason.INTERNAL, 'a listener of the application threw', { cause })
  queueMicrotask(() => {
    throw error
  })
}
