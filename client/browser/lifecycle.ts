import type { Clock } from '@mesh/core'
import { type Lifecycle, type LifecycleEvent, watchForGaps } from '../lifecycle.ts'

/** Timers of a page that is looked at are late by much less. */
const MIN_GAP_MS = 5_000
/** Timers of a hidden page run once a minute (intensive throttling): twice that is more than being hidden. */
const MIN_HIDDEN_GAP_MS = 120_000

const WOKE: LifecycleEvent = { kind: 'woke', hiddenMs: 0 }
const NETWORK: LifecycleEvent = { kind: 'network' }

/**
 * What a browser tells of a page and its network, and what the clocks tell of a machine that slept:
 *
 *  - `visibilitychange` to visible: timers were throttled, and somebody looks at the page now.
 *  - `resume` after `freeze`, and `pageshow` from the back/forward cache: nothing of the page ran.
 *  - `online`, and a change of `navigator.connection` where there is one: the network may be another one.
 *
 * `pagehide` and `freeze` ask for nothing: whether the page comes back is not known then, and its peers keep the links.
 */
export function browserLifecycle(clock: Clock): Lifecycle {
  return { watch: (listener) => watchPage(clock, listener) }
}

function watchPage(clock: Clock, listener: (event: LifecycleEvent) => void): () => void {
  const over = new AbortController()
  const on = (target: EventTarget | undefined, name: string, handle: (event: Event) => void): void =>
    target?.addEventListener(name, handle, { signal: over.signal })
  const page = pageOf()
  const hidden = (): boolean => page?.visibilityState === 'hidden'
  on(page, 'visibilitychange', () => hidden() || listener(WOKE))
  on(page, 'resume', () => listener(WOKE))
  on(globalThis, 'pageshow', (event) => (event as PageTransitionEvent).persisted && listener(WOKE))
  on(globalThis, 'online', () => listener(NETWORK))
  on(connectionOf(), 'change', () => listener(NETWORK))
  const stop = watchForGaps(clock, () => (hidden() ? MIN_HIDDEN_GAP_MS : MIN_GAP_MS), listener)
  return () => {
    over.abort()
    stop()
  }
}

/** Undefined in a worker. */
function pageOf(): Document | undefined {
  return (globalThis as { document?: Document }).document
}

/** Network Information API; undefined where it does not exist. */
function connectionOf(): EventTarget | undefined {
  return (navigator as { connection?: EventTarget }).connection
}
