import { ErrorReason } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
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

  test('stays, though its stream looks alive and carries nothing for longer than its lease', () => {
    const { a, b, third, network } = setUp()
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(2_000)
    const isBetween = (from: TestServer, to: TestServer): boolean => from !== third && to !== third
    network.tamper = (frame, from, to) => (isBetween(from, to) ? undefined : frame)
    network.pass(4_000)
    expect(b.origin(1)?.via).toEqual(serverBytes(third.number))
    a.join({ peer: 2 })
    network.pass(30_000)
    a.leave({ peer: 1, seq: 2 })
    expect(network.pass(1_000)).toEqual([])
    expect(b.shown()).toEqual([2])
    expect(b.takeKinds()).toEqual(['joined', 'joined', 'left'])
    network.tamper = (frame) => frame
    expect(network.pass(1_100)).toEqual([])
    expect(b.origin(1)).toMatchObject({ state: 'live', via: undefined, seq: 3n })
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })

  test('stays, though more happens between two of its states than the log of the third server has', () => {
    const { a, b, network } = setUp({ federationLogRows: 2 })
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(2_000)
    network.disconnect(a, b)
    for (let peer = 2; peer < 200; peer++) {
      a.join({ peer })
      if (peer % 4 === 0) expect(network.pass(500)).toEqual([])
    }
    expect(b.takeKinds()).not.toContain('left')
    expect(b.origin(1)?.msSinceState).toBeLessThan(7_000)
  })

  test('is heard itself again at its first word, and is not passed on any more when nobody asks for it', () => {
    const { a, b, third, network } = setUp()
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(1_000)
    let isCut = true
    let passedOn = 0
    network.tamper = (frame, from, to) => {
      const isOfA = frame.frame.case === 'originState' && frame.frame.value.origin[3] === a.number
      if (from === third && to === b && isOfA) passedOn += 1
      return isCut && from === a && to === b ? undefined : frame
    }
    network.pass(5_000)
    expect(b.origin(1)?.via).toBeDefined()
    isCut = false
    network.pass(1_100)
    expect(b.origin(1)?.via).toBeUndefined()
    network.pass(10_000)
    passedOn = 0
    expect(network.pass(5_000)).toEqual([])
    expect(passedOn).toBe(0)
  })

  test('is taken from what arrived first, when what it sent itself waited on the way and is older', () => {
    const { a, b, third, network } = setUp({ federationLogRows: 2 })
    network.connect(a, b)
    a.join({ peer: 1 })
    network.pass(1_000)
    const late: Frame[] = []
    network.tamper = (frame, from, to) => {
      if (from !== a || to !== b) return frame
      late.push(frame)
      return undefined
    }
    // More than the log holds: both the origin and the third server send a snapshot.
    network.disconnect(a, b)
    for (let peer = 2; peer < 8; peer++) a.join({ peer })
    network.connect(a, b)
    network.pass(6_000)
    a.join({ peer: 8 })
    network.pass(2_000)
    expect(b.origin(1)).toMatchObject({ seq: 8n, via: serverBytes(third.number) })
    network.tamper = (frame) => frame
    expect(late.some(({ frame }) => frame.case === 'rows' && frame.value.snapshot !== undefined)).toBe(true)
    for (const frame of late) b.replication.receive(a.key, frame)
    expect(network.pass(2_000)).toEqual([])
    expect(b.origin(1)).toMatchObject({ state: 'live', seq: 8n, via: undefined })
    expect(b.shown()).toHaveLength(8)
    expect(b.takeKinds()).not.toContain('left')
  })

  test('is taken from a snapshot that passes one state and ends at the next', () => {
    const { a, b, third, network } = setUp({ federationLogRows: 2 })
    a.join({ peer: 1 })
    network.pass(6_000)
    network.tamper = (frame, from, to) =>
      from === third && to === b && frame.frame.case === 'rows' ? undefined : frame
    a.join({ peer: 2 })
    network.pass(1_100)
    network.tamper = (frame) => frame
    for (const peer of [3, 4, 5]) a.join({ peer })
    network.pass(1_000)
    // What tells of five rows was here before the rows, behind what told of two.
    expect(b.shown()).toEqual([1])
    network.pass(800)
    expect(b.shown()).toEqual([1, 2, 3, 4, 5])
  })

  test('is found in time through the only one of four others that hears it', () => {
    const time = new TestTime()
    const all = [1, 2, 3, 4, 5].map((number) => new TestServer(number, time)) as [TestServer, TestServer, TestServer]
    const [a, b] = all
    const network = new TestNetwork(...all)
    for (const [at, one] of all.entries()) for (const other of all.slice(0, at)) network.connect(one, other)
    a.join({ peer: 1 })
    network.pass(2_000)
    const hearsA = all.at(-1)
    network.tamper = (frame, from, to) => (from === a && to !== hearsA ? undefined : frame)
    expect(network.pass(30_000)).toEqual([])
    expect(b.shown()).toEqual([1])
    expect(b.takeKinds()).toEqual(['joined'])
  })

  test('is found in time when the one that is asked first lost it too, and has only what is known', () => {
    const time = new TestTime()
    const limits = { federationLeaseMs: 2_500, federationStateMs: 500 }
    const all = [1, 2, 3, 4].map((number) => new TestServer(number, time, limits))
    const [a, b, deaf, hearsA] = all as [TestServer, TestServer, TestServer, TestServer]
    const network = new TestNetwork(...all)
    for (const [at, one] of all.entries()) for (const other of all.slice(0, at)) network.connect(one, other)
    network.pass(2_000)
    // It is asked, and hears nothing else.
    network.tamper = (frame, from, to) => {
      if (to === deaf) return from === b && frame.frame.case === 'pull' ? frame : undefined
      return from === a && to !== hearsA ? undefined : frame
    }
    for (let tenths = 0; tenths < 100; tenths++) {
      expect(network.pass(100)).toEqual([])
      expect(b.origin(1)?.state).toBe('live')
    }
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

  test('is taken anew, and nobody is to blame, when its own table was wrong before it came through others', () => {
    const { a, b, third, network } = setUp()
    network.tamper = (frame, from, to) => {
      if (from === a && to === b && frame.frame.case === 'rows') frame.frame.value.rows.pop()
      return from === a && to === b && frame.frame.case === 'originState' ? undefined : frame
    }
    for (const peer of [1, 2]) a.join({ peer })
    network.connect(a, b)
    expect(network.settle()).toEqual([])
    expect(b.shown()).toEqual([])
    network.disconnect(a, b)
    expect(network.pass(3_500)).toEqual([])
    for (let round = 0; round < 8; round++) {
      expect(network.pass(3_000)).toEqual([])
      expect(b.shown()).toEqual([1, 2])
    }
    expect([b.refused, third.refused]).toEqual([[], []])
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
