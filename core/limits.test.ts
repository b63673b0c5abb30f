import { describe, expect, it } from 'vitest'
import type { Limits } from './limits.ts'
import { DEFAULT_LIMITS, limitExceeded, limitWireName } from './limits.ts'

describe('limits', () => {
  it('have a name on the wire that says their unit', () => {
    expect(limitWireName('maxMessageBytes')).toBe('max_message_bytes')
    expect(limitWireName('http2MaxHeaderBytes')).toBe('http2_max_header_bytes')
    const units = /(_bytes|_ms|_per_second|_burst|^max_.+|_max_.+)$/
    for (const name of Object.keys(DEFAULT_LIMITS)) expect(limitWireName(name as keyof Limits)).toMatch(units)
  })

  it('are positive whole numbers', () => {
    for (const [name, value] of Object.entries(DEFAULT_LIMITS)) {
      expect(Number.isSafeInteger(value) && value > 0, name).toBe(true)
    }
  })

  it('fit together', () => {
    const limits = DEFAULT_LIMITS
    expect(limits.maxRequestBytes).toBeGreaterThan(limits.maxMessageBytes)
    expect(limits.maxStreamQueueBytes).toBeGreaterThanOrEqual(limits.maxRequestBytes)
    expect(limits.deadAfterMs).toBeGreaterThan(2 * limits.heartbeatMs)
    expect(limits.minRecordTtlMs).toBeLessThan(limits.recordTtlMs)
    expect(limits.recordTtlMs).toBeLessThan(limits.maxRecordTtlMs)
    expect(limits.linkOpenMs).toBeLessThanOrEqual(limits.maxHoldMs)
  })

  it('say which one was hit when one is', () => {
    expect(limitExceeded('joinsPerSecond', 1, { retryAfterMs: 500 })).toMatchObject({
      reasonName: 'LIMIT_EXCEEDED',
      limit: 'joins_per_second',
      limitValue: 1n,
      value: undefined,
      retryAfterMs: 500,
      retryable: true,
    })
    expect(limitExceeded('maxMessageBytes', 65_536, { value: 65_537 })).toMatchObject({
      value: 65_537n,
      retryable: false,
    })
  })
})
