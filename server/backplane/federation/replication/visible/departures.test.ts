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

  test('keep a LEAVE until another one withholds all that it does', () => {
    const departures = new Departures({ maxDepartures: 10, keepMs: 100 })
    departures.add(TOPIC, peerKey(1), 1, leave(5))
    departures.add(TOPIC, peerKey(1), 2, undefined)
    departures.add(TOPIC, peerKey(1), 3, leave(4))
    expect(departures.leaves(TOPIC, peerKey(1)).map(({ seq }) => seq)).toEqual([5n])
    departures.add(TOPIC, peerKey(1), 4, leave(6, 2))
    expect(departures.leaves(TOPIC, peerKey(1)).map(({ seq }) => seq)).toEqual([6n])
  })

  test('keep the LEAVE of a newer session beside one of a higher seq', () => {
    const departures = new Departures({ maxDepartures: 10, keepMs: 100 })
    for (const seq of [7, 5, 6]) departures.add(TOPIC, peerKey(1), seq, leave(seq, 10 - seq))
    expect(departures.leaves(TOPIC, peerKey(1)).map(({ sessionOrder }) => sessionOrder)).toEqual([5n, 4n, 3n])
  })

  test('keep a bounded number of LEAVEs of one peer: those of its newest sessions', () => {
    const departures = new Departures({ maxDepartures: 10, keepMs: 100 })
    for (let seq = 1; seq < 10; seq++) departures.add(TOPIC, peerKey(1), seq, leave(seq, 10 - seq))
    expect(departures.leaves(TOPIC, peerKey(1)).map(({ sessionOrder }) => sessionOrder)).toEqual([9n, 8n, 7n, 6n])
  })

  test('forget the LEAVE that turned out not to be signed, and no other', () => {
    const departures = new Departures({ maxDepartures: 10, keepMs: 100 })
    const forged = leave(6, 1)
    for (const one of [leave(5, 2), forged]) departures.add(TOPIC, peerKey(1), 1, one)
    departures.disown(TOPIC, peerKey(1), forged)
    expect(departures.leaves(TOPIC, peerKey(1)).map(({ seq }) => seq)).toEqual([5n])
    expect(departures.atMs(TOPIC, peerKey(1))).toBe(1)
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
