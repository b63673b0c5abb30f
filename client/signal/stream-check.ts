import type { Clock } from '@mesh/core'
import type { CheckUpCause } from '../check-up.ts'
import { deadAfter } from './event-stream.ts'
import type { SignalState } from './signal-state.ts'

/** What a check looks at and can do. */
export interface StreamCheckOptions {
  readonly clock: Clock
  readonly state: () => SignalState
  /** Asks the server for anything, within `PROBE_TIMEOUT_MS`. */
  readonly ask: () => Promise<unknown>
  /** The next attempt does not wait. */
  readonly hurry: () => void
  /** Ends the stream, or the attempt at one, and its connection, and opens another at once. */
  readonly restart: () => void
}

/** How long a server has to answer when it is asked whether it is there. */
export const PROBE_TIMEOUT_MS = 2_000

/**
 * After this side slept, or its network changed: is the stream what it seems? One that was without a byte for longer than
 * heartbeats allow is not; one that spoke within a heartbeat is; in between, the server is asked. Nothing is asked twice at once.
 */
export class StreamCheck {
  readonly #options: StreamCheckOptions
  /** When the stream, or the attempt at one, began, or last brought something. */
  #aliveAtMs = 0
  #began = 0
  #asking = false

  constructor(options: StreamCheckOptions) {
    this.#options = options
  }

  /** An attempt begins. */
  begin(): void {
    this.#began++
    this.alive()
  }

  /** Something came. */
  alive(): void {
    this.#aliveAtMs = this.#options.clock.monotonicMs()
  }

  /** `network`: what spoke a moment ago may have spoken over another network. */
  check({ hiddenMs, network }: CheckUpCause): void {
    const { clock, state, hurry, restart } = this.#options
    const now = state()
    const silentMs = clock.monotonicMs() - this.#aliveAtMs + hiddenMs
    if (now.kind === 'waiting') hurry()
    else if (now.kind === 'connecting' && silentMs >= PROBE_TIMEOUT_MS) restart()
    else if (now.kind === 'connected') {
      if (silentMs >= deadAfter(now.session)) restart()
      else if (network || silentMs > now.session.heartbeatMs) void this.#ask()
    }
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    const { ask, state, restart } = this.#options
    if (this.#asking) return
    this.#asking = true
    const about = this.#began
    const answered = await ask().then(
      () => true,
      () => false,
    )
    this.#asking = false
    if (!answered && this.#began === about && state().kind === 'connected') restart()
  }
}
