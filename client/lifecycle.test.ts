import { type Clock, VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { type LifecycleEvent, watchForGaps } from './lifecycle.ts'

let clock: VirtualClock
/** What the process's clock shows beyond the test's: time in which it did not run. */
let stoppedMs: number
let noticed: LifecycleEvent[]

beforeEach(() => {
  clock = new VirtualClock()
  stoppedMs = 0
  noticed = []
})

/** A process whose timers stand while it is stopped, and whose monotonic clock does not. */
function stoppable(): Clock {
  return {
    monotonicMs: () => clock.monotonicMs() + stoppedMs,
    wallMs: () => clock.wallMs() + stoppedMs,
    schedule: (delayMs, run) => clock.schedule(delayMs, run),
  }
}

describe('watchForGaps', () => {
  it('notices nothing while timers are on time, or a little late', async () => {
    const stop = watchForGaps(
      stoppable(),
      () => 5_000,
      (event) => noticed.push(event),
    )
    await clock.advance(60_500)
    stoppedMs += 4_000
    await clock.advance(60_000)
    expect(noticed).toEqual([])
    stop()
    expect(clock.pending).toBe(0)
  })

  it('notices within a second that the process was stopped', async () => {
    const stop = watchForGaps(
      stoppable(),
      () => 5_000,
      (event) => noticed.push(event),
    )
    await clock.advance(10_200)
    stoppedMs += 600_000
    await clock.advance(1_000)
    expect(noticed).toEqual([{ kind: 'woke', hiddenMs: 0 }])
    await clock.advance(60_000)
    expect(noticed).toHaveLength(1)
    stop()
  })

  it('notices a sleep that the monotonic clock did not count, and says how long it was', async () => {
    const stop = watchForGaps(
      clock,
      () => 5_000,
      (event) => noticed.push(event),
    )
    await clock.advance(10_200)
    clock.skewWall(600_000)
    await clock.advance(1_000)
    expect(noticed).toEqual([{ kind: 'woke', hiddenMs: 600_000 }])
    stop()
  })

  it('does not take a wall clock that is set right by a second, or set back, for sleep', async () => {
    const stop = watchForGaps(
      clock,
      () => 5_000,
      (event) => noticed.push(event),
    )
    for (const ms of [1_000, -3_600_000]) {
      clock.skewWall(ms)
      await clock.advance(5_000)
    }
    expect(noticed).toEqual([])
    stop()
  })

  it('asks each time how late a timer may be', async () => {
    let minGapMs = 5_000
    const stop = watchForGaps(
      stoppable(),
      () => minGapMs,
      (event) => noticed.push(event),
    )
    minGapMs = 120_000
    stoppedMs += 60_000
    await clock.advance(2_000)
    expect(noticed).toEqual([])
    stoppedMs += 130_000
    await clock.advance(2_000)
    expect(noticed).toHaveLength(1)
    stop()
  })
})
