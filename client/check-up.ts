import type { Clock, Timer } from '@mesh/core'
import type { LifecycleEvent } from './lifecycle.ts'

/** What there is to check. */
export interface CheckUpCause {
  /** See LifecycleEvent; 0 when nothing was hidden. */
  readonly hiddenMs: number
  /** The network may be another one. */
  readonly network: boolean
}

/** Waking up comes as a handful of events, and the network a moment later: two checks do for all of them. */
const SPACING_MS = 1_000

/** Makes few checks of many events: one at once, and one a second later for what was told meanwhile. */
export class CheckUp {
  readonly #clock: Clock
  readonly #run: (cause: CheckUpCause) => void
  #resting: Timer | undefined
  #missed: CheckUpCause | undefined

  constructor(clock: Clock, run: (cause: CheckUpCause) => void) {
    this.#clock = clock
    this.#run = run
  }

  notice(event: LifecycleEvent): void {
    const hiddenMs = event.kind === 'woke' ? event.hiddenMs : 0
    const network = event.kind === 'network'
    if (!this.#resting) return this.#check({ hiddenMs, network })
    const missed = this.#missed ?? { hiddenMs: 0, network: false }
    this.#missed = { hiddenMs: Math.max(missed.hiddenMs, hiddenMs), network: missed.network || network }
  }

  /** Checks nothing any more. */
  close(): void {
    this.#resting?.cancel()
    this.#missed = undefined
  }

  #check(cause: CheckUpCause): void {
    this.#resting = this.#clock.schedule(SPACING_MS, () => {
      this.#resting = undefined
      const missed = this.#missed
      this.#missed = undefined
      if (missed) this.#check(missed)
    })
    this.#run(cause)
  }
}
