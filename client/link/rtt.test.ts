import { describe, expect, test } from 'vitest'
import { DEFAULT_LINK_LIMITS } from './link-limits.ts'
import { RttEstimator } from './rtt.ts'

describe('RttEstimator', () => {
  test('uses the initial timeout when nothing was measured', () => {
    expect(new RttEstimator().rtoMs(500, DEFAULT_LINK_LIMITS)).toBe(1_000)
  })

  test('follows RFC 6298 section 2 when samples come', () => {
    const rtt = new RttEstimator()
    rtt.sample(800)
    // SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR
    expect(rtt.rtoMs(0, DEFAULT_LINK_LIMITS)).toBe(800 + 4 * 400)
    rtt.sample(1_600)
    // RTTVAR = 3/4 * 400 + 1/4 * |800 - 1600|, SRTT = 7/8 * 800 + 1/8 * 1600
    expect(rtt.smoothedMs).toBe(900)
    expect(rtt.rtoMs(0, DEFAULT_LINK_LIMITS)).toBe(900 + 4 * 500)
  })

  test('keeps the timeout between floor and ceiling', () => {
    const rtt = new RttEstimator()
    rtt.sample(1)
    expect(rtt.rtoMs(500, DEFAULT_LINK_LIMITS)).toBe(500)
    rtt.sample(60_000)
    expect(rtt.rtoMs(500, DEFAULT_LINK_LIMITS)).toBe(DEFAULT_LINK_LIMITS.maxRtoMs)
  })

  test('lets a frame be overtaken for nine eighths of the longer round trip', () => {
    const rtt = new RttEstimator()
    expect(rtt.reorderingMs(1_000)).toBe(1_000)
    rtt.sample(80)
    expect(rtt.reorderingMs(1_000)).toBe(90)
    rtt.sample(160)
    expect(rtt.reorderingMs(1_000)).toBe(180)
  })
})
