import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import { abortError } from '../delay.ts'

/** How long a call waits for a link before it is given up. */
export const LINK_WAIT_MS = 15_000
/** Overflow: refused. */
const MAX_WAITING = 1_024

export interface LinkWaitOptions {
  readonly clock: Clock
  /** Whether calls need not wait. */
  readonly usable: () => boolean
  /** Why there is nothing to wait for any more; undefined while there is. */
  readonly gone: () => MeshError | undefined
  /** The error after 15 s. */
  readonly late: () => MeshError
  /** Who is waited for. */
  readonly id: string
}

/**
 * Calls to a peer that wait for its link. They run in the order they were made and before any later one, so that messages do
 * not overtake each other.
 */
export class LinkWait {
  readonly #options: LinkWaitOptions
  readonly #waiting = new Set<() => void>()

  constructor(options: LinkWaitOptions) {
    this.#options = options
  }

  /**
   * Runs `use` at once or as soon as the link is usable.
   * @throws MeshError why the peer is gone; ABORTED; `late` after 15 s; LIMIT_EXCEEDED when 1,024 wait
   */
  run<T>(signal: AbortSignal | undefined, use: () => T | Promise<T>): Promise<T> {
    const { clock, usable, gone, late, id } = this.#options
    // An async function runs to its first await at once, and turns what is thrown into a rejection.
    if (usable()) return (async () => use())()
    const error = gone()
    if (error) return Promise.reject(error)
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(tooManyWait(id))
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal))
      const settle = (outcome: () => T | Promise<T>) => {
        this.#waiting.delete(attempt)
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        ;(async () => outcome())().then(resolve, reject)
      }
      const attempt = () => {
        if (usable()) settle(use)
        else if (gone()) settle(() => Promise.reject(gone()))
      }
      const onAbort = () => settle(() => Promise.reject(abortError(signal as AbortSignal)))
      const timer = clock.schedule(LINK_WAIT_MS, () => settle(() => Promise.reject(late())))
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(attempt)
    })
  }

  /** Something changed that calls wait for. */
  wake(): void {
    for (const attempt of [...this.#waiting]) attempt()
  }
}

function tooManyWait(id: string): MeshError {
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, `${MAX_WAITING} calls wait for a link to ${id} already`, {
    limit: 'waiting_messages',
    limitValue: MAX_WAITING,
    retryable: true,
  })
}
