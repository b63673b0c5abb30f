import { describe, expect, test } from 'vitest'
import { peerKey, serverKey, testRecord, topicKey } from '../replication.fixture.ts'
import { Departures, type Leave, withholds } from './departures.ts'

const TOPIC = topicKey(1)

function leave(seq: number, order = 1): Leave {
  const { signed } = testRecord({ seq, order })
  return { home: serverKey(1), signed, seq: BigInt(seq), sessionOrder: BigInt(order), isGenuine: true }
}

describe('departures', () => {
  test('are remembered for a time, and in a bounded number: the oldest gives way', () => {
    const departures = new Departures({ maxDepartures: 2, keepMs: 100 })
    for (const peer of [1, 2, 3]) departures.add(TOPIC, peerKey(peer), peer, undefined)
    expect([1, 2, 3].map((peer) => departures.atMs(TOPIC, peerKey(peer)))).toEqual([undefined, 2, 3])
    departures.expire(102)
    expect([2, 3].map((peer) => departures.atMs(TOPIC, peerKey(peer)))).toEqual([undefined, 3])
  })

  test('keep the LEAVE with the highest seq', () => {
    const departures = new Departures({ maxDepartures: 10, keepMs: 100 })
    departures.add(TOPIC, peerKey(1), 1, leave(5))
    departures.add(TOPIC, peerKey(1), 2, undefined)
    departures.add(TOPIC, peerKey(1), 3, leave(4))
    expect(departures.leave(TOPIC, peerKey(1))?.seq).toBe(5n)
  })
})

describe('a LEAVE', () => {
  test('withholds what another home has of the same or an older session, up to its seq', () => {
    const said = leave(10, 3)
    expect(withholds(said, serverKey(2), 9n, 2n)).toBe(true)
    expect(withholds(said, serverKey(2), 11n, 3n)).toBe(false)
    expect(withholds(said, serverKey(2), 9n, 4n)).toBe(false)
    expect(withholds(said, serverKey(1), 9n, 2n)).toBe(false)
  })
})
