import { ErrorReason } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { serverBytes, TestNetwork, TestServer, TestTime } from '../replication.fixture.ts'

/** Servers 1 and 2 reach each other only through 3. */
function setUp(limits = {}) {
  const time = new TestTime()
  const [a, b, third] = [1, 2, 3].map((number) => new TestServer(number, time, limits)) as [
    TestServer,
    TestServer,
    TestServer,
  ]
  const network = new TestNetwork(a, b, third)
  network.connect(a, third)
  network.settle()
  network.connect(b, third)
  return { a, b, third, network }
}

describe('an origin that only a third server reaches', () => {
  test('is shown, kept alive and followed through it', () => {
    const { a, b, network } = setUp()
    a.join({ peer: 1 })
    expect(network.pass(6_000)).toEqual([])
    expect(b.shown()).toEqual([1])
    a.join({ peer: 2 })
    a.leave({ peer: 1, seq: 2 })
    expect(network.pass(3_000)).toEqual([])
    expect(b.shown()).toEqual([2])
    expect(network.pass(60_000)).toEqual([])
    expect(b.origin(1)).toMatchObject({ state: 'live', seq: 3n })
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
    expect(b.takeKinds()).toEqual(['joined', 'joined', 'left'])
  })

  test('goes on without a gap when the stream with it breaks, and when it is back', () => {
    const { a, b, network } = setUp()
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(2_000)
    network.disconnect(a, b)
    for (let peer = 2; peer < 20; peer++) {
      a.join({ peer })
      network.pass(1_000)
    }
    network.connect(a, b)
    expect(network.pass(20_000)).toEqual([])
    expect(b.shown()).toHaveLength(19)
    expect(b.takeKinds()).toEqual(new Array(19).fill('joined'))
  })

  test('is hidden when the third server loses it too, and found again after its restart', () => {
    const { a, b, third, network } = setUp()
    a.join({ peer: 1 })
    network.pass(6_000)
    network.disconnect(a, third)
    network.pass(12_000)
    expect([b.shown(), third.shown()]).toEqual([[], []])
    network.connect(a, third)
    network.pass(6_000)
    expect([b.shown(), third.shown()]).toEqual([[1], [1]])
  })

  test('is never made up: rows and states count only when its signature vouches for them', () => {
    const { a, b, third, network } = setUp()
    a.join({ peer: 1 })
    // The third server keeps a row to itself.
    network.tamper = (frame, from, to) => {
      if (from !== third || to !== b || frame.frame.case !== 'rows') return frame
      if (Buffer.compare(frame.frame.value.origin, serverBytes(1)) === 0) frame.frame.value.rows = []
      return frame
    }
    const errors = network.pass(20_000)
    expect(b.shown()).toEqual([])
    expect(errors.map(({ reason }) => reason)).toContain(ErrorReason.DIGEST_MISMATCH)
  })

  test('is refused from a server that was not asked for it', () => {
    const { a, b, third, network } = setUp()
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(3_000)
    const frame = third.replication.next(b.key)
    expect(frame).toBeUndefined()
    network.tamper = (sent, from, to) => {
      if (from === third && to === b && sent.frame.case === 'originState') sent.frame.value.origin = serverBytes(1)
      return sent
    }
    expect(network.pass(1_100).map(({ reason }) => reason)).toContain(ErrorReason.ORIGIN_FORGED)
  })
})
