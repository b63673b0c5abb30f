import type { Clock } from '@mesh/core'
import { type Lifecycle, watchForGaps } from '../lifecycle.ts'

/** Five times the tick: a busy event loop is late, but not by that much. */
const MIN_GAP_MS = 5_000

/** Node tells nothing of sleep or networks; that the process did not run, the clocks tell. */
export function nodeLifecycle(clock: Clock): Lifecycle {
  return { watch: (listener) => watchForGaps(clock, () => MIN_GAP_MS, listener) }
}
