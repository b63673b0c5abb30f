/**
 * The listeners of one object, by event name. Not Node's EventTarget: its events carry a `detail` and cost an object each,
 * while data channel messages arrive by the thousand. A listener that throws does not stop the others or the network code that
 * is calling.
 */
export class Listeners<Events extends Record<string, unknown>> {
  readonly #byType = new Map<keyof Events, Set<(event: never) => void>>()
  readonly #onThrow: (error: unknown) => void

  constructor(onThrow: (error: unknown) => void) {
    this.#onThrow = onThrow
  }

  /** Adds a listener; the same function is kept once per event. */
  add<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): void {
    const set = this.#byType.get(type) ?? new Set()
    set.add(listener)
    this.#byType.set(type, set)
  }

  remove<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): void {
    this.#byType.get(type)?.delete(listener)
  }

  emit<Type extends keyof Events>(type: Type, event: Events[Type]): void {
    for (const listener of this.#byType.get(type) ?? []) {
      try {
        listener(event as never)
      } catch (error) {
        this.#onThrow(error)
      }
    }
  }

  clear(): void {
    this.#byType.clear()
  }
}
