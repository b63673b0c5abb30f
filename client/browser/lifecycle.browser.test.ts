import { VirtualClock } from '@mesh/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LifecycleEvent } from '../lifecycle.ts'
import { browserLifecycle } from './lifecycle.ts'

let clock: VirtualClock
let told: LifecycleEvent[]
let stop: () => void
let visibility: DocumentVisibilityState

beforeEach(() => {
  clock = new VirtualClock()
  told = []
  visibility = 'visible'
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => visibility })
  stop = browserLifecycle(clock).watch((event) => told.push(event))
})
afterEach(() => {
  stop()
  Reflect.deleteProperty(document, 'visibilityState')
})

const WOKE: LifecycleEvent = { kind: 'woke', hiddenMs: 0 }

function show(state: DocumentVisibilityState): void {
  visibility = state
  document.dispatchEvent(new Event('visibilitychange'))
}

describe('browser lifecycle', () => {
  it('tells when the page is looked at again, not when it is hidden', () => {
    show('hidden')
    expect(told).toEqual([])
    show('visible')
    expect(told).toEqual([WOKE])
  })

  it('tells of a page that was frozen, or came back from the back/forward cache', () => {
    document.dispatchEvent(new Event('freeze'))
    window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))
    window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: false }))
    expect(told).toEqual([])
    document.dispatchEvent(new Event('resume'))
    window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
    expect(told).toEqual([WOKE, WOKE])
  })

  it('tells when the network may be another one', () => {
    window.dispatchEvent(new Event('offline'))
    expect(told).toEqual([])
    window.dispatchEvent(new Event('online'))
    ;(navigator as { connection?: EventTarget }).connection?.dispatchEvent(new Event('change'))
    expect(told.map(({ kind }) => kind)).toEqual('connection' in navigator ? ['network', 'network'] : ['network'])
  })

  it('notices a laptop that slept, also behind a hidden page', async () => {
    show('hidden')
    clock.skewWall(600_000)
    await clock.advance(1_000)
    expect(told).toEqual([{ kind: 'woke', hiddenMs: 600_000 }])
  })

  it('does not take the slow timers of a hidden page for sleep', async () => {
    show('hidden')
    const monotonicMs = clock.monotonicMs.bind(clock)
    const wallMs = clock.wallMs.bind(clock)
    let lateMs = 0
    clock.monotonicMs = () => monotonicMs() + lateMs
    clock.wallMs = () => wallMs() + lateMs
    lateMs += 60_000
    await clock.advance(1_000)
    expect(told).toEqual([])
    show('visible')
    lateMs += 60_000
    await clock.advance(1_000)
    expect(told).toEqual([WOKE, WOKE])
  })

  it('tells nothing once it is not watched any more, and keeps no timer', () => {
    stop()
    show('visible')
    window.dispatchEvent(new Event('online'))
    document.dispatchEvent(new Event('resume'))
    expect([told, clock.pending]).toEqual([[], 0])
  })
})
