import { Interrupted } from './failure.ts'

/** The part of `process` that interrupts come from. */
export interface SignalSource {
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  exit(code: number): void
}

/**
 * Ctrl+C and SIGTERM. The first one asks the command to finish: `signal` aborts with an `Interrupted`. The second one ends
 * the process at once, whatever it is doing.
 */
export class Interrupts {
  readonly #source: SignalSource
  readonly #controller = new AbortController()
  readonly #onInt = (): void => this.trigger('SIGINT')
  readonly #onTerm = (): void => this.trigger('SIGTERM')

  constructor(source: SignalSource) {
    this.#source = source
    source.on('SIGINT', this.#onInt)
    source.on('SIGTERM', this.#onTerm)
  }

  /** Aborts at the first interrupt. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Also for a Ctrl+C that a terminal in raw mode delivers as a key. */
  trigger(name: 'SIGINT' | 'SIGTERM'): void {
    const interrupted = new Interrupted(name)
    if (this.signal.aborted) this.#source.exit(interrupted.exitCode)
    else this.#controller.abort(interrupted)
  }

  /** Gives the signals back. Idempotent. */
  dispose(): void {
    this.#source.off('SIGINT', this.#onInt)
    this.#source.off('SIGTERM', this.#onTerm)
  }
}
