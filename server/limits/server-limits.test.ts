import { DEFAULT_LIMITS, ErrorReason } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { DEFAULT_SERVER_LIMITS, limitError, resolveLimits, serverLimits } from './server-limits.ts'

describe('the table of limits', () => {
  test('describes every limit, once, with a unit that its name shows', () => {
    for (const { name, wireName, defaultValue, unit, meaning } of serverLimits) {
      expect(meaning, name).not.toBe('')
      expect(wireName).toMatch(/^[a-z0-9_]+$/)
      expect(defaultValue).toBe(DEFAULT_SERVER_LIMITS[name])
      if (unit === 'ms') expect(wireName).toMatch(/_ms$/)
      if (unit === 'bytes') expect(wireName).toMatch(/_bytes$/)
    }
    expect(new Set(serverLimits.map(({ wireName }) => wireName)).size).toBe(serverLimits.length)
  })

  test('leaves out only what concerns peers', () => {
    const described = new Set<string>(serverLimits.map(({ name }) => name))
    const missing = Object.keys(DEFAULT_LIMITS).filter((name) => !described.has(name))
    expect(missing).toEqual(['recordTtlMs', 'maxPendingHandshakes', 'linkOpenMs'])
  })
})

describe('resolveLimits', () => {
  test('puts overrides over the defaults', () => {
    expect(resolveLimits({ leaseMs: 1 })).toEqual({ ...DEFAULT_SERVER_LIMITS, leaseMs: 1 })
  })

  test.each([{ leaseMs: 0 }, { leaseMs: 1.5 }, { leaseMs: Number.NaN }, { leaseMs: -1 }, { nonsense: 1 }])(
    'refuses %o as a configuration error',
    (limits) => {
      expect(() => resolveLimits(limits)).toThrowError(expect.objectContaining({ reason: ErrorReason.CONFIGURATION }))
    },
  )
})

test('a limit error carries the name, the limit and what was found', () => {
  expect(limitError('maxMessageBytes', 10, { value: 11.5 })).toMatchObject({
    reason: ErrorReason.LIMIT_EXCEEDED,
    limit: 'max_message_bytes',
    limitValue: 10n,
    value: 11n,
  })
})
