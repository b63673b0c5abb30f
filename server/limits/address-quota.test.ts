import { MeshError, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { AddressQuota, addressBlock } from './address-quota.ts'
import { resolveLimits } from './server-limits.ts'

describe('addressBlock', () => {
  test.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
    ['', ''],
  ])('counts %s under %s', (address, block) => {
    expect(addressBlock(address)).toBe(block)
  })
})

describe('the address quota', () => {
  function setUp(limits = {}) {
    const clock = new VirtualClock()
    return { clock, quota: new AddressQuota(resolveLimits(limits), clock) }
  }

  test('lets a burst through, then a rate, and says when to come back', async () => {
    const { clock, quota } = setUp({ openSessionsBurst: 3, openSessionsPerSecond: 2 })
    for (let i = 0; i < 3; i++) quota.take('192.0.2.7')
    expect(() => quota.take('192.0.2.7')).toThrowError(
      expect.objectContaining({ limit: 'open_sessions_per_second', limitValue: 2n, retryAfterMs: 500 }) as MeshError,
    )
    quota.take('192.0.2.8')
    await clock.advance(500)
    quota.take('192.0.2.7')
  })

  test('counts a whole /64 as one', () => {
    const { quota } = setUp({ openSessionsBurst: 2 })
    quota.take('2001:db8::1')
    quota.take('2001:db8::2')
    expect(() => quota.take('2001:db8::3')).toThrow(MeshError)
    quota.take('2001:db8:0:1::1')
  })

  test('remembers a bounded number of addresses', () => {
    const { quota } = setUp({ openSessionsBurst: 1, maxTrackedAddresses: 2 })
    for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) quota.take(address)
    expect(() => quota.take('192.0.2.3')).toThrow(MeshError)
    quota.take('192.0.2.1')
  })
})
