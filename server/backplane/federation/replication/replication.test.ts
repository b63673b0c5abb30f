import { describe, expect, test } from 'vitest'
import { peerKey, serverKey, TestNetwork, TestServer, TestTime, topicKey } from './replication.fixture.ts'

function setUp(limits = {}) {
  const time = new TestTime()
  const a = new TestServer(1, time, limits)
  const b = new TestServer(2, time, limits)
  const network = new TestNetwork(a, b)
  return { time, a, b, network }
}

describe('replication', () => {
  test('shows at one server who joins at another', () => {
    const { a, b, network } = setUp()
    a.join({ peer: 1 })
    network.connect(a, b)
    expect(network.settle()).toEqual([])
    expect(b.shown()).toEqual([1])
    expect(b.takeKinds()).toEqual(['joined'])
    a.join({ peer: 2 })
    a.join({ peer: 1, seq: 2 })
    network.settle()
    expect(b.shown()).toEqual([1, 2])
    expect(b.takeKinds()).toEqual(['joined', 'updated'])
    a.leave({ peer: 1, seq: 3 })
    network.settle()
    expect(b.takeKinds()).toEqual(['left'])
    expect(b.origin(1)).toMatchObject({ rows: 1, seq: 4n, state: 'live' })
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })

  test('keeps rows alive by states, hides them when the lease ends, and shows them again cheaply', () => {
    const { a, b, network } = setUp()
    for (const peer of [1, 2, 3]) a.join({ peer })
    b.join({ topic: 2 })
    network.connect(a, b)
    network.settle()
    expect(network.pass(60_000)).toEqual([])
    expect(b.shown()).toEqual([1, 2, 3])
    network.disconnect(a, b)
    network.pass(9_000)
    expect(b.shown()).toEqual([1, 2, 3])
    network.pass(2_000)
    expect(b.shown()).toEqual([])
    expect(b.origin(1)).toMatchObject({ state: 'hidden', rows: 3 })
    const rowFrames = network.carried.get('rows')
    network.connect(a, b)
    network.settle()
    expect(b.shown()).toEqual([1, 2, 3])
    expect(network.carried.get('rows')).toBe(rowFrames)
    expect(b.replication.homesOf(topicKey(1), peerKey(2))).toMatchObject([{ server: serverKey(1) }])
  })
})
