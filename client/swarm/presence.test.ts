import { describe, expect, it } from 'vitest'
import { awayLimit, Presence } from './presence.ts'

describe('presence', () => {
  it('is away after 15 s without a way to the peer, and online with one at once', () => {
    const presence = new Presence(0)
    expect(presence.look(true, 1_000)).toBe(false)
    expect(presence.look(false, 10_000)).toBe(false)
    expect(presence.look(false, 24_999)).toBe(false)
    expect([presence.look(false, 25_000), presence.current]).toEqual([true, 'away'])
    expect(presence.look(false, 60_000)).toBe(false)
    expect([presence.look(true, 61_000), presence.current]).toEqual([true, 'online'])
  })

  it('counts from when the last way was lost', () => {
    const presence = new Presence(0)
    presence.look(false, 5_000)
    presence.look(true, 14_000)
    presence.look(false, 16_000)
    expect(presence.look(false, 30_000)).toBe(false)
    expect(presence.unreachableForMs(30_000)).toBe(14_000)
    presence.look(true, 30_000)
    expect(presence.unreachableForMs(40_000)).toBe(0)
  })

  it('counts how long nothing came when its server gave the peer up, up to what it waits itself', () => {
    const presence = new Presence(0)
    presence.look(true, 100_000)
    expect(presence.look(false, 100_000, 400_000)).toBe(false)
    presence.expired = true
    expect(presence.look(false, 100_000, 10_000)).toBe(false)
    expect([presence.look(false, 105_000, 15_000), presence.unreachableForMs(105_000)]).toEqual([true, 15_000])
    presence.look(true, 200_000, 400_000)
    expect(presence.look(false, 200_000, 400_000)).toBe(true)
    expect(presence.unreachableForMs(200_000)).toBe(15_000)
  })

  it('gives the peer its time again after this side was away', () => {
    const presence = new Presence(0)
    presence.look(true, 0)
    presence.startOver(500_000)
    expect(presence.unreachableForMs(500_000)).toBe(0)
    presence.look(false, 500_000)
    presence.startOver(900_000)
    expect(presence.look(false, 914_000)).toBe(false)
    expect(presence.look(false, 915_000)).toBe(true)
  })
})

describe('awayLimit', () => {
  it('is a quarter of an hour unless said otherwise, and an hour at most', () => {
    expect([awayLimit(), awayLimit(0), awayLimit(3_600_000)]).toEqual([900_000, 0, 3_600_000])
    for (const wrong of [-1, 3_600_001, Number.NaN]) {
      expect(() => awayLimit(wrong)).toThrow(expect.objectContaining({ reasonName: 'CONFIGURATION' }))
    }
  })
})
