/** A scheduled run. `cancel` is idempotent and harmless after the run. */
export interface Timer {
  cancel(): void
}

/** Time, as everything in MESH sees it: injected, so that tests and simulations can own it. */
export interface Clock {
  /** Milliseconds since an arbitrary start. Never goes back: use it for durations, leases and timeouts. */
  monotonicMs(): number
  /** Unix time in milliseconds. May jump: use it only for what other machines read. */
  wallMs(): number
  /**
   * Runs once, `delayMs` from now (at the next turn for 0 or less), unless cancelled.
   * `keepAlive` (default false): whether the timer keeps a Node process running.
   */
  schedule(delayMs: number, run: () => void, options?: { keepAlive?: boolean }): Timer
}

/** Longest delay of setTimeout: 2^31 - 1 ms, about 24.8 days. A longer one would fire at once. */
const MAX_TIMEOUT_MS = 0x7fff_ffff

/** The platform's clock. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, run, options) {
    const dueMs = performance.now() + delayMs
    let handle: ReturnType<typeof setTimeout>
    const arm = (leftMs: number): void => {
      handle = setTimeout(
        () => (leftMs > MAX_TIMEOUT_MS ? arm(dueMs - performance.now()) : run()),
        Math.max(0, Math.min(leftMs, MAX_TIMEOUT_MS)),
      )
      // Browsers return a number; only Node's timers hold a process.
      if (options?.keepAlive !== true && typeof handle === 'object') handle.unref()
    }
    arm(delayMs)
    return { cancel: () => clearTimeout(handle) }
  },
}
