import type { Clock, Timer } from '@mesh/core'

/** What happens to a process or a page from outside, as far as it makes what is open worth a look. */
export type LifecycleEvent =
  /**
   * It did not run for a while (a laptop slept, a page was frozen, a process stopped), or nobody looked at it.
   * `hiddenMs`: what of that the monotonic clock did not count.
   */
  | { readonly kind: 'woke'; readonly hiddenMs: number }
  /** The network may be another one. */
  | { readonly kind: 'network' }

/** Tells of such events. What a platform cannot notice by itself is noticed by heartbeats and timeouts, only later. */
export interface Lifecycle {
  /** Calls the listener until the returned function is called. */
  watch(listener: (event: LifecycleEvent) => void): () => void
}

/** Back within two seconds includes noticing within one. */
const TICK_MS = 1_000

/**
 * Notices that the process did not run: a timer that is due every second came much too late, or the wall clock went on while the
 * monotonic one stood. A wall clock that is set forward looks the same, and costs one check.
 */
export function watchForGaps(
  clock: Clock,
  minGapMs: () => number,
  notice: (event: LifecycleEvent) => void,
): () => void {
  let timer: Timer
  const tick = (): void => {
    const monotonicMs = clock.monotonicMs()
    const wallMs = clock.wallMs()
    timer = clock.schedule(TICK_MS, () => {
      const runMs = clock.monotonicMs() - monotonicMs
      const hiddenMs = Math.max(0, clock.wallMs() - wallMs - runMs)
      tick()
      if (runMs - TICK_MS >= minGapMs() || hiddenMs >= HIDDEN_GAP_MS) notice({ kind: 'woke', hiddenMs })
    })
  }
  tick()
  return () => timer.cancel()
}

/** Above what the clocks of a machine that is being set right move at once. */
const HIDDEN_GAP_MS = 3_000
