import type { Clock, MeshError, Timer } from '@mesh/core'
import { isRefusal } from './refusal.ts'

export interface LineReportOptions {
  readonly clock: Clock
  readonly onConnected: () => void
  /** The error is undefined when the other side ended the stream without one, and no other stream took its place. */
  readonly onLost: (error: MeshError | undefined) => void
}

/** Time for the stream that a quiet end made room for. */
const QUIET_MS = 1_000

/**
 * What people hear of a line: that it is connected, and that it was lost or cannot be opened, each once. Streams that take
 * each other's place are no news, and refusals are told where they happen.
 */
export class LineReport {
  readonly #options: LineReportOptions
  #told: 'nothing' | 'connected' | 'lost' = 'nothing'
  #quiet: Timer | undefined

  constructor(options: LineReportOptions) {
    this.#options = options
  }

  up(): void {
    this.close()
    if (this.#told === 'connected') return
    this.#told = 'connected'
    this.#options.onConnected()
  }

  /** The stream that was up ended. */
  down(error: MeshError | undefined): void {
    if (error !== undefined) this.#lost(error)
    else this.#quiet = this.#options.clock.schedule(QUIET_MS, () => this.#lost(undefined))
  }

  /** A call failed, and no stream is up. */
  failed(error: MeshError | undefined): void {
    if (this.#told === 'nothing' && !isRefusal(error)) this.#lost(error)
  }

  /** Nothing more is told of what ended quietly. Idempotent. */
  close(): void {
    this.#quiet?.cancel()
    this.#quiet = undefined
  }

  #lost(error: MeshError | undefined): void {
    this.#told = 'lost'
    this.#options.onLost(error)
  }
}
