import { create } from '@bufbuild/protobuf'
import { ErrorReason } from '@mesh/core'
import { type Frame, FrameSchema, type Pull } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import {
  peerBytes,
  peerKey,
  START_WALL_MS,
  serverBytes,
  serverKey,
  TestNetwork,
  type TestRecord,
  TestServer,
  TestTime,
  testRecord,
  testSignature,
  topicKey,
} from './replication.fixture.ts'

function setUp(limits = {}) {
  const time = new TestTime()
  const [a, b, c] = [1, 2, 3].map((number) => new TestServer(number, time, limits)) as [
    TestServer,
    TestServer,
    TestServer,
  ]
  const network = new TestNetwork(a, b, c)
  return { time, a, b, c, network, limits }
}

/** Peers at server 1, and a stream between it and server 2. */
function connected(peers: number, limits = {}) {
  const world = setUp(limits)
  for (let peer = 1; peer <= peers; peer++) world.a.join({ peer })
  world.network.connect(world.a, world.b)
  expect(world.network.settle()).toEqual([])
  return world
}

describe('replication', () => {
  test('shows at one server who joins, changes and leaves at another', () => {
    const { a, b, network } = connected(1)
    expect(b.takeKinds()).toEqual(['joined'])
    a.join({ peer: 2 })
    a.join({ peer: 1, seq: 2 })
    a.leave({ peer: 1, seq: 3 })
    network.settle()
    expect(b.takeKinds()).toEqual(['joined', 'updated', 'left'])
    expect(b.shown()).toEqual([2])
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })

  test('is catching up until it holds what those that are heard told of', () => {
    const { a, b, network } = setUp()
    for (let peer = 1; peer <= 3; peer++) a.join({ peer })
    expect(b.replication.isCatchingUp).toBe(false)
    network.connect(a, b)
    expect(b.replication.isCatchingUp).toBe(true)
    network.settle()
    expect(b.replication.isCatchingUp).toBe(false)
    network.tamper = (frame) => (frame.frame.case === 'rows' ? undefined : frame)
    a.join({ peer: 4 })
    network.pass(1_100)
    expect(b.replication.isCatchingUp).toBe(true)
    network.tamper = (frame) => frame
    network.pass(5_000)
    expect(b.replication.isCatchingUp).toBe(false)
    expect(b.shown()).toEqual([1, 2, 3, 4])
    network.tamper = (frame) => (frame.frame.case === 'rows' ? undefined : frame)
    a.join({ peer: 5 })
    network.pass(1_100)
    expect(b.replication.isCatchingUp).toBe(true)
    network.disconnect(a, b)
    expect(b.replication.isCatchingUp).toBe(false)
  })

  test('keeps rows alive by states, hides them when the lease ends, and shows them again without sending one', () => {
    const { a, b, network } = connected(3)
    b.join({ topic: 2 })
    expect(network.pass(60_000)).toEqual([])
    network.disconnect(a, b)
    network.pass(9_000)
    expect(b.shown()).toEqual([1, 2, 3])
    network.pass(2_000)
    expect(b.shown()).toEqual([])
    expect(b.changes.at(-1)).toMatchObject({ kind: 'left', reason: DepartureReason.SERVER_LOST })
    const rowFrames = network.carried.get('rows')
    network.connect(a, b)
    network.settle()
    expect(b.shown()).toEqual([1, 2, 3])
    expect(network.carried.get('rows')).toBe(rowFrames)
  })

  test('shows nothing again of what ended while its origin could not be heard', () => {
    const { a, b, network } = connected(3)
    network.disconnect(a, b)
    network.pass(12_000)
    a.leave({ peer: 2, seq: 2 })
    b.takeKinds()
    network.connect(a, b)
    network.settle()
    expect(b.takeKinds()).toEqual(['joined', 'joined'])
    expect(b.shown()).toEqual([1, 3])
  })

  test('does not show hidden rows again while they are known to be wrong', () => {
    const { a, b, network } = connected(2, { federationPageRows: 1 })
    // One entry takes away what nobody has, and those after the last do not come.
    let lastSeq = 3n
    network.tamper = (frame, from) => {
      const { case: kind, value } = frame.frame
      if (from !== a || kind !== 'rows' || value.snapshot !== undefined) return frame
      for (const row of value.rows) if (row.gone) row.peerKey = peerBytes(99)
      return value.fromSeq > lastSeq ? undefined : frame
    }
    a.withdraw({ peer: 1 })
    for (const peer of [3, 4]) a.join({ peer })
    expect(network.pass(14_000)).toEqual([])
    expect(b.origin(1)).toMatchObject({ state: 'hidden', seq: 3n, head: 5n })
    for (lastSeq = 4n; lastSeq <= 5n; lastSeq++) {
      expect(network.pass(4_000)).toEqual([])
      expect(b.shown()).not.toContain(1)
    }
    expect(b.takeKinds().filter((kind) => kind === 'left')).toHaveLength(2)
    expect(b.shown()).toEqual([2, 3, 4])
  })

  test('drops hidden rows in the end, remembers where the origin was, and starts with a snapshot when it is back', () => {
    const { a, b, network } = connected(3)
    network.disconnect(a, b)
    network.pass(12_000 + 5 * 60_000)
    expect(b.origin(1)).toBeUndefined()
    const [held] = b.replication.hello().have.filter(({ origin }) => Buffer.from(origin).toString('latin1') === a.key)
    expect(held).toMatchObject({ epoch: a.origin(1)?.epoch, seq: 0n })
    network.connect(a, b)
    network.settle()
    expect(b.shown()).toEqual([1, 2, 3])
  })

  test('gives others time after its own pause, once for every time they were heard', () => {
    const { a, b, network, time } = connected(1)
    network.disconnect(a, b)
    time.monotonicMs += 30_000
    b.tick()
    expect(b.shown()).toEqual([1])
    time.monotonicMs += 5_000
    b.tick()
    expect(b.shown()).toEqual([])
  })
})

describe('a server that was away', () => {
  test('gets what it missed from the log', () => {
    const { a, b, network } = connected(2)
    network.disconnect(a, b)
    a.join({ peer: 3 })
    a.withdraw({ peer: 1 })
    b.takeKinds()
    network.connect(a, b)
    network.settle()
    expect(b.takeKinds()).toEqual(['joined', 'left'])
  })

  test('gets a snapshot when it missed more than the log has, and nobody seems to leave', () => {
    const { a, b, network } = connected(20, { federationLogRows: 4, federationPageRows: 3 })
    network.disconnect(a, b)
    for (let peer = 15; peer <= 30; peer++) a.join({ peer, seq: 2 })
    b.takeKinds()
    network.connect(a, b)
    network.settle()
    expect(b.shown()).toHaveLength(30)
    expect(new Set(b.takeKinds())).toEqual(new Set(['updated', 'joined']))
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })

  test('gets the whole table though it changes all the time that it is sent', () => {
    const { a, b, network } = setUp({ federationLogRows: 4, federationPageRows: 2 })
    for (let peer = 1; peer <= 100; peer++) a.join({ peer })
    let seq = 1
    network.tamper = (frame, from) => {
      if (from === a && frame.frame.case === 'rows' && seq < 60) a.join({ peer: 1 + (seq % 100), seq: ++seq })
      return frame
    }
    network.connect(a, b)
    expect(network.settle()).toEqual([])
    expect(b.shown()).toHaveLength(100)
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })

  test.each(['rows', 'originState', 'pull'])('finds what it needs though every third frame "%s" is lost', (kind) => {
    const { a, b, network } = setUp({ federationLogRows: 4, federationPageRows: 2 })
    network.connect(a, b)
    let count = 0
    network.tamper = (frame) => (frame.frame.case === kind && ++count % 3 === 0 ? undefined : frame)
    for (let peer = 1; peer <= 30; peer++) {
      a.join({ peer })
      network.pass(500)
    }
    network.tamper = (frame) => frame
    expect(network.pass(10_000)).toEqual([])
    expect(b.shown()).toHaveLength(30)
    expect(b.origin(1)?.digest).toEqual(a.origin(1)?.digest)
  })
})

describe('a server that starts again', () => {
  test('takes nobody away who comes back to it within the lease', () => {
    const { a, b, network, time } = connected(3)
    network.disconnect(a, b)
    const restarted = new TestServer(1, time, {}, time.wallMs + 1_000)
    const again = new TestNetwork(restarted, b)
    again.connect(restarted, b)
    again.settle()
    for (const peer of [1, 2]) restarted.join({ peer, seq: 2, order: 2 })
    b.takeKinds()
    again.settle()
    expect(b.takeKinds()).toEqual(['updated', 'updated'])
    again.pass(11_000)
    expect(b.shown()).toEqual([1, 2])
    expect(b.takeKinds()).toEqual(['left'])
  })

  test('is not shown as it was beyond its old lease when those who hear it are paused again and again', () => {
    const { a, b, network, time } = connected(1)
    network.disconnect(a, b)
    const restarted = new TestServer(1, time, {}, time.wallMs + 1_000)
    const again = new TestNetwork(restarted, b)
    again.connect(restarted, b)
    again.settle()
    time.monotonicMs += 9_500
    b.tick()
    expect(b.shown()).toEqual([1])
    restarted.tick()
    again.settle()
    time.monotonicMs += 5_000
    b.tick()
    expect(b.shown()).toEqual([])
  })

  test('rises above the epoch it had when its clock was set back', () => {
    const { a, b, network, time } = connected(1)
    const before = a.replication.hello().epoch
    network.disconnect(a, b)
    const restarted = new TestServer(1, time, {}, START_WALL_MS - 600_000)
    restarted.join({ peer: 5 })
    expect(restarted.replication.hello().epoch).toBeLessThan(before)
    const again = new TestNetwork(restarted, b)
    again.connect(restarted, b)
    expect(again.pass(2_000)).toEqual([])
    expect(restarted.replication.hello().epoch).toBeGreaterThan(before)
    expect(b.shown()).toEqual([1, 5])
  })

  test('sends its snapshot once to who knows a later epoch of it than the one that it rose above a moment ago', () => {
    // A Pull may be repeated as soon as the next state comes.
    const limits = { federationLeaseMs: 3_000 }
    const { a, b, c, network, time } = connected(1, limits)
    const later = new TestServer(1, time, limits, START_WALL_MS + 60_000)
    const second = new TestNetwork(later, c)
    second.connect(later, c)
    expect(second.settle()).toEqual([])
    network.disconnect(a, b)
    second.disconnect(later, c)
    const restarted = new TestServer(1, time, limits, START_WALL_MS - 600_000)
    restarted.join({ peer: 5 })
    const again = new TestNetwork(restarted, b, c)
    const epochs: bigint[] = []
    const pulls: Pull[] = []
    again.tamper = (frame, from, to) => {
      const { case: kind, value } = frame.frame
      const origin = kind === 'pull' ? value.after?.origin : kind === 'rows' ? value.origin : undefined
      if (origin === undefined || byteKey(origin) !== restarted.key || (from !== c && to !== c)) return frame
      if (kind === 'rows') epochs.push(value.epoch)
      if (kind === 'pull') pulls.push(value)
      return frame
    }
    again.connect(restarted, b)
    expect(again.settle()).toEqual([])
    again.connect(restarted, c)
    expect(again.pass(3_000)).toEqual([])
    const pastEpoch = later.replication.hello().epoch
    expect(pulls.map(({ after }) => after?.epoch)).toEqual(pulls.map(() => pastEpoch))
    // One more that was on its way when it rose.
    restarted.replication.receive(c.key, create(FrameSchema, { frame: { case: 'pull', value: pulls[0] as Pull } }))
    expect(again.settle()).toEqual([])
    expect(c.shown()).toEqual([5])
    expect(epochs).toEqual([restarted.replication.hello().epoch])
  })

  test.each([
    ['leaves', (server: TestServer) => server.leave({ peer: 1, seq: 3 })],
    ['is withdrawn', (server: TestServer) => server.withdraw({ peer: 1, seq: 2 })],
  ])('whose peer %s after it rose is not shown with it any more by the rows of its old epoch', (_, go) => {
    const { a, b, network, time } = connected(1)
    network.disconnect(a, b)
    const restarted = new TestServer(1, time, {}, START_WALL_MS - 600_000)
    const again = new TestNetwork(restarted, b)
    again.connect(restarted, b)
    again.pass(1_000)
    restarted.join({ peer: 1, seq: 2 })
    again.pass(100)
    b.takeKinds()
    expect(b.shown()).toEqual([1])
    go(restarted)
    expect(again.pass(100)).toEqual([])
    expect([b.shown(), b.takeKinds()]).toEqual([[], ['left']])
  })

  test('may answer each Pull that told it of its epoch by a snapshot', () => {
    const { a, b, network } = connected(1)
    let states = 0
    network.tamper = (frame, from) => {
      const isOld = from === a && frame.frame.case === 'originState' && states++ < 2
      if (isOld) edit(frame.frame, 'originState', (state) => (state.epoch -= 1n))
      return frame
    }
    expect(network.pass(4_000)).toEqual([])
    expect(states).toBeGreaterThan(1)
    expect(network.carried.get('pull')).toBeGreaterThan(0)
    expect(b.shown()).toEqual([1])
  })

  test('is not made to rise by a claim far in the future', () => {
    const { a, b } = setUp()
    const { epoch } = a.replication.hello()
    const have = [{ origin: Buffer.from(a.key, 'latin1'), epoch: 2n ** 63n, seq: 1n }] as never
    expect(() => a.replication.up({ server: b.key, epoch: 1n, have, limits: {} as never })).toThrow(/never was/)
    expect(a.replication.hello().epoch).toBe(epoch)
  })
})

describe('a peer with several homes', () => {
  test('is shown once, by its newest session, and leaves with its last home', () => {
    const { a, b, c, network } = connected(0)
    network.connect(b, c)
    a.join({ peer: 1, order: 1 })
    c.join({ peer: 1, seq: 2, order: 2 })
    network.settle()
    expect(b.takeKinds()).toEqual(['joined', 'updated'])
    expect(b.replication.homesOf(topicKey(1), peerKey(1))).toMatchObject([
      { server: serverKey(3), order: 2n },
      { server: serverKey(1), order: 1n },
    ])
    c.withdraw({ peer: 1, order: 2 })
    network.settle()
    a.withdraw({ peer: 1, order: 1 })
    network.settle()
    expect(b.takeKinds()).toEqual(['updated', 'left'])
  })

  test('is gone everywhere when it signs a LEAVE with its newest session', () => {
    const { a, b, c, network } = connected(1)
    network.connect(b, c)
    c.join({ peer: 1, seq: 2, order: 2 })
    network.settle()
    c.leave({ peer: 1, seq: 3, order: 2 })
    b.takeKinds()
    network.settle()
    expect(b.shown()).toEqual([])
    expect(b.replication.homesOf(topicKey(1), peerKey(1))).toEqual([])
    a.join({ peer: 1, seq: 4, order: 3 })
    network.settle()
    expect(b.shown()).toEqual([1])
  })

  test('is gone with its newest session, though it signs the LEAVE of an older one later', () => {
    const { a, b, c, network } = connected(0)
    network.connect(b, c)
    a.join({ peer: 1, seq: 1, order: 2 })
    b.join({ peer: 1, seq: 2, order: 1 })
    c.join({ peer: 1, seq: 3, order: 3 })
    network.settle()
    c.leave({ peer: 1, seq: 4, order: 3 })
    network.settle()
    b.takeKinds()
    b.leave({ peer: 1, seq: 5, order: 1 })
    expect([b.shown(), b.takeKinds()]).toEqual([[], []])
  })

  test('is gone everywhere when the server that says so was given up, and comes back', () => {
    const { a, b, c, network } = connected(1)
    b.join({ peer: 1, seq: 2, order: 2 })
    network.connect(a, c)
    network.connect(b, c)
    network.settle()
    network.disconnect(a, b)
    network.disconnect(b, c)
    network.pass(11_000)
    expect(a.shown()).toEqual([1])
    b.leave({ peer: 1, seq: 3, order: 2 })
    a.takeKinds()
    network.connect(a, b)
    network.settle()
    expect([a.shown(), a.takeKinds()]).toEqual([[], ['left']])
  })

  test('cannot join here below a LEAVE that it signed elsewhere', () => {
    const { a, b, network } = connected(1)
    a.leave({ peer: 1, seq: 5 })
    network.settle()
    const refusal = (fields: TestRecord) => b.replication.refusalOf(testRecord({ home: 2, ...fields }))?.reason
    expect(refusal({ seq: 5 })).toBe(ErrorReason.RECORD_STALE)
    expect([refusal({ seq: 6 }), refusal({ seq: 5, order: 2 })]).toEqual([undefined, undefined])
  })

  test('that went on to another server is told to its old one', () => {
    const { a, b, network } = connected(1)
    b.join({ peer: 1, seq: 2, order: 2 })
    network.settle()
    expect(a.outranked).toEqual([{ peer: peerKey(1), order: 2n }])
    expect(b.outranked).toEqual([])
  })

  test('is shown once when its session here ends while the table of its new home is being shown', () => {
    const { a, b, network } = setUp()
    for (const topic of [1, 2]) a.join({ topic, order: 1 })
    for (const topic of [1, 2]) b.join({ topic, order: 2 })
    a.onOutranked = () => {
      a.onOutranked = () => {}
      for (const topic of [1, 2]) a.withdraw({ topic, order: 1 })
      a.isWatching = false
    }
    network.connect(a, b)
    expect(network.settle()).toEqual([])
    expect([a.shown(1), a.shown(2)]).toEqual([[1], [1]])
    for (const topic of [1, 2]) b.withdraw({ topic, order: 2 })
    expect(network.settle()).toEqual([])
    expect([a.shown(1), a.shown(2)]).toEqual([[], []])
  })
})

/** What a lying server does to its frames, and how it is refused. */
const LIES: readonly [string, (frame: Frame) => void, ErrorReason][] = [
  [
    'another server’s rows',
    ({ frame }) => edit(frame, 'rows', (rows) => (rows.origin = Buffer.from(serverKey(3), 'latin1'))),
    ErrorReason.ORIGIN_FORGED,
  ],
  [
    'a record with its home elsewhere',
    ({ frame }) => edit(frame, 'rows', (rows) => swap(rows.rows, { home: 3 })),
    ErrorReason.RECORD_HOME,
  ],
  [
    'a record for ever',
    ({ frame }) => edit(frame, 'rows', (rows) => swap(rows.rows, { ttlMs: 1e9 })),
    ErrorReason.RECORD_TTL,
  ],
  [
    'a lease for an hour',
    ({ frame }) => edit(frame, 'originState', (state) => (state.leaseMs = 3_600_000)),
    ErrorReason.LIMIT_EXCEEDED,
  ],
  ['no lease', ({ frame }) => edit(frame, 'originState', (state) => (state.leaseMs = 0)), ErrorReason.INVALID_ARGUMENT],
  [
    'more rows than allowed',
    ({ frame }) => edit(frame, 'originState', (state) => (state.rowCount = 10n ** 9n)),
    ErrorReason.LIMIT_EXCEEDED,
  ],
  [
    'another digest, every time',
    ({ frame }) => edit(frame, 'originState', (state) => (state.digest = new Uint8Array(32))),
    ErrorReason.DIGEST_MISMATCH,
  ],
  [
    'a snapshot of a billion pages',
    ({ frame }) => edit(frame, 'rows', (rows) => Object.assign(rows.snapshot ?? {}, { pageCount: 2e9 })),
    ErrorReason.LIMIT_EXCEEDED,
  ],
  [
    'a state with a signature that is not its own',
    ({ frame }) => edit(frame, 'originState', ({ signed }) => signed && Object.assign(signed, { signature: FORGED })),
    ErrorReason.SIGNATURE_INVALID,
  ],
  [
    'an epoch of the next century',
    ({ frame }) => edit(frame, 'originState', (state) => (state.epoch = 2n ** 63n)),
    ErrorReason.EPOCH_STALE,
  ],
  [
    'one new epoch after the other',
    ({ frame }) => edit(frame, 'originState', (state) => (state.epoch += state.beat)),
    ErrorReason.LIMIT_EXCEEDED,
  ],
]

const FORGED = testSignature(9)

type FrameOf<C extends string> = Extract<Frame['frame'], { case: C }>['value']

function edit<C extends 'rows' | 'originState'>(
  frame: Frame['frame'],
  kind: C,
  change: (value: FrameOf<C>) => unknown,
): void {
  if (frame.case === kind) change(frame.value as FrameOf<C>)
}

function swap(rows: FrameOf<'rows'>['rows'], fields: TestRecord): void {
  for (const row of rows) row.record = testRecord(fields).signed
}

describe('a lying server', () => {
  test.each(LIES)('is refused when it sends %s', (_what, lie, reason) => {
    const { a, b, c, network } = setUp()
    for (const server of [a, c]) server.join({ peer: server.number })
    network.tamper = (frame, from, to) => {
      if (from === a && to === b) lie(frame)
      return frame
    }
    network.connect(a, b)
    network.connect(c, b)
    network.settle()
    const errors = [...network.pass(100)]
    for (let round = 0; round < 30 && errors.length === 0; round++) errors.push(...network.pass(1_000))
    network.connect(a, b)
    errors.push(...network.settle())
    expect([...errors.map((error) => error.reason)]).toContain(reason)
    expect(b.shown()).toContain(3)
  })

  test('is refused when its snapshots are never those that its digest is of, whatever their number', () => {
    const { a, b, network } = connected(1)
    network.tamper = (frame, from) => {
      if (from !== a) return frame
      edit(frame.frame, 'originState', (state) => Object.assign(state, { digest: new Uint8Array(32).fill(1) }))
      edit(frame.frame, 'rows', (rows) => Object.assign(rows.snapshot ?? {}, { snapshotId: 7n }))
      return frame
    }
    expect(network.pass(15_000).map(({ reason }) => reason)).toContain(ErrorReason.DIGEST_MISMATCH)
    network.pass(12_000)
    expect(b.shown()).toEqual([])
  })

  test('is refused when it begins one snapshot after the other, with the limit and the time to wait', () => {
    const { a, b } = connected(1)
    const rows = { origin: serverBytes(1), epoch: a.origin(1)?.epoch ?? 0n, toSeq: 1n }
    const begin = (id: number): void => {
      const snapshot = { snapshotId: BigInt(id), page: 0, pageCount: 1 }
      b.replication.up({ server: a.key, ...a.replication.hello(), limits: {} as never })
      b.replication.receive(a.key, create(FrameSchema, { frame: { case: 'rows', value: { ...rows, snapshot } } }))
    }
    // One was taken when they were connected.
    for (let id = 2; id <= 8; id++) begin(id)
    expect(() => begin(9)).toThrowError(
      expect.objectContaining({
        reason: ErrorReason.LIMIT_EXCEEDED,
        limit: 'federation_snapshots_per_second',
        limitValue: 1n,
        retryAfterMs: 1_000,
      }),
    )
  })

  test('is refused, and nothing of it shown, when a record that is needed is forged', () => {
    const { a, b, network } = connected(2)
    b.isWatching = false
    a.join({ peer: 3, isForged: true })
    network.settle()
    expect(b.refused).toEqual([])
    expect(b.shown()).toEqual([1, 2])
    b.tick()
    expect(b.refused).toMatchObject([{ server: a.key, error: { reason: ErrorReason.SIGNATURE_INVALID } }])
    expect(b.shown()).toEqual([])
  })

  test('shows neither of two records with one seq, until a higher one comes', () => {
    const { a, b, network } = connected(1)
    network.tamper = (frame) => {
      edit(frame.frame, 'rows', (rows) => swap(rows.rows, { seq: 1, state: 9 }))
      return frame
    }
    a.join({ seq: 2 })
    network.settle()
    expect(b.shown()).toEqual([])
    network.tamper = (frame) => frame
    a.join({ seq: 3 })
    network.settle()
    expect(b.shown()).toEqual([1])
  })

  test('cannot replace a newer record by an older one', () => {
    const { a, network } = connected(0)
    a.join({ seq: 5 })
    network.settle()
    network.tamper = (frame) => {
      edit(frame.frame, 'rows', (rows) => swap(rows.rows, { seq: 4 }))
      return frame
    }
    a.join({ seq: 6 })
    expect(network.settle().map(({ reason }) => reason)).toEqual([ErrorReason.RECORD_STALE])
  })

  test('cannot make a peer leave by a LEAVE of another', () => {
    const { a, network } = connected(2)
    network.tamper = (frame) => {
      edit(frame.frame, 'rows', (rows) => swap(rows.rows, { peer: 2, seq: 9, kind: MembershipKind.LEAVE }))
      return frame
    }
    a.leave({ peer: 1, seq: 2 })
    expect(network.settle().map(({ reason }) => reason)).toEqual([ErrorReason.RECORD_PEER])
  })
})
