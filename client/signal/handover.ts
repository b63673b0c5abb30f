import type { Clock, Random, Timer } from '@mesh/core'

/**
 * The times of a move from a server that is about to stop:
 *
 *   notice ── random part of three fifths of the time left ──▶ `open` ── `isDone`, looked at twice a second ──▶ `onDone`
 *                                                                └────────── the server's deadline ──────────▶ `onDeadline`
 */
export interface HandoverOptions {
  readonly clock: Clock
  readonly random: Random
  /** How long the server still serves. */
  readonly deadlineMs: number
  /** Opens a session at the next server; undefined when the client has one already. */
  readonly open: (() => void) | undefined
  /** Whether the old server is not needed any more. */
  readonly isDone: () => boolean
  readonly onDone: (leftMs: number) => void
  readonly onDeadline: () => void
}

/** The clients of one server come spread over this part of its time; what is left is for the last of them to get in. */
const SPREAD = 0.6
const LOOK_MS = 500

export class Handover {
  readonly #options: HandoverOptions
  readonly #endMs: number
  #timer: Timer

  constructor(options: HandoverOptions) {
    const { clock, random, deadlineMs, open } = options
    this.#options = options
    this.#endMs = clock.monotonicMs() + deadlineMs
    const waitMs = open ? random.uniform() * SPREAD * deadlineMs : 0
    this.#timer = clock.schedule(waitMs, () => {
      open?.()
      this.#look()
    })
  }

  /** Does nothing from now on. Idempotent. */
  cancel(): void {
    this.#timer.cancel()
  }

  #look(): void {
    const { clock, isDone, onDone, onDeadline } = this.#options
    const leftMs = this.#endMs - clock.monotonicMs()
    if (leftMs <= 0) return onDeadline()
    if (isDone()) return onDone(leftMs)
    this.#timer = clock.schedule(Math.min(LOOK_MS, leftMs), () => this.#look())
  }
}
