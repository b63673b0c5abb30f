import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from './clock.ts'

describe('systemClock', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('runs once after the delay, and not at all when cancelled', () => {
    const run = vi.fn()
    const cancelled = vi.fn()
    systemClock.schedule(100, run)
    systemClock.schedule(100, cancelled).cancel()
    vi.advanceTimersByTime(99)
    expect(run).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1_000)
    expect(run).toHaveBeenCalledTimes(1)
    expect(cancelled).not.toHaveBeenCalled()
  })

  it('waits to the end when the delay is beyond what setTimeout takes', () => {
    const run = vi.fn()
    const thirtyDaysMs = 30 * 86_400_000
    systemClock.schedule(thirtyDaysMs, run)
    vi.advanceTimersByTime(thirtyDaysMs - 1)
    expect(run).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('cancels a long delay when its first piece is over', () => {
    const run = vi.fn()
    const timer = systemClock.schedule(30 * 86_400_000, run)
    vi.advanceTimersByTime(25 * 86_400_000)
    timer.cancel()
    vi.advanceTimersByTime(10 * 86_400_000)
    expect(run).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('shows Unix time and a monotonic time', () => {
    vi.setSystemTime(1_700_000_000_123)
    expect(systemClock.wallMs()).toBe(1_700_000_000_123)
    const before = systemClock.monotonicMs()
    vi.advanceTimersByTime(5)
    expect(systemClock.monotonicMs()).toBe(before + 5)
  })
})
