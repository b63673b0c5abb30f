import { create, fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import { EnvelopeSchema, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import type { RemoteDelivery, RoutedEnvelope } from '../backplane/backplane.ts'
import { byteKey } from '../byte-key.ts'
import type { Session } from '../session/session.ts'
import { TestReader, testDomain } from '../testing/domain.ts'
import { keyBytes, sessionBytes, verifiedRecord } from '../testing/records.ts'
import { outgoingEnvelope, routedEnvelope } from './envelope.ts'
import type { EnvelopeOutcome } from './outcome.ts'

let lastId = 0

function message(to: number, overrides: object = {}) {
  lastId += 1
  const id = sessionBytes(0)
  new DataView(id.buffer).setUint32(0, lastId)
  return create(EnvelopeSchema, {
    id,
    to: keyBytes(to),
    topic: keyBytes(1),
    payload: new Uint8Array([1]),
    ...overrides,
  })
}

/** Alice (1) and Bob (2) are members here; Carol (3) is one at another server. */
function setUp(limits = {}) {
  const domain = testDomain(limits)
  const { router, elsewhere, open, join } = domain
  const [alice, bob] = [open(1), open(2)]
  join(alice)
  join(bob)
  const show = (peer: number, order = 1n, topic = 1) =>
    elsewhere.show(verifiedRecord({ peer, topic, session: 100 + peer, order, seq: 9_999 }))
  show(3)
  const route = (to: number, overrides?: object, from: Session = alice): Promise<EnvelopeOutcome> =>
    new Promise((resolve) => router.route(from, outgoingEnvelope(message(to, overrides)), resolve))
  /** What the other server sends here, by default from Carol to Bob. */
  const receive = (overrides: object = {}) =>
    router.receive(routedEnvelope(message(2, { from: keyBytes(3), fromSession: sessionBytes(103), ...overrides })))
  return { ...domain, alice, bob, show, route, receive }
}

function payloads(reader: TestReader): number[] {
  return reader.read().flatMap(({ event }) => (event.case === 'message' ? [event.value.payload[0] as number] : []))
}

function ttls(session: Session): number[] {
  const events = new TestReader(session).read()
  return events.flatMap(({ event }) => (event.case === 'message' ? [event.value.ttlMs] : []))
}

describe('the router, for a recipient at another server', () => {
  test('sends a complete envelope with the stamp of its sender', async () => {
    const { route, elsewhere, alice } = setUp()
    await route(3, { ttlMs: 5_000 })
    const [sent] = elsewhere.sent
    expect(sent).toMatchObject({ from: alice.peer, to: byteKey(keyBytes(3)), ttlMs: 5_000, payloadBytes: 1 })
    expect(fromBinary(EnvelopeSchema, (sent as RoutedEnvelope).bytes)).toMatchObject({
      from: alice.peerKey,
      fromSession: alice.id,
      to: keyBytes(3),
    })
  })

  test.each<[string, RemoteDelivery, object]>([
    ['DELIVERED', 'delivered', { status: OutcomeStatus.DELIVERED, error: undefined }],
    ['HELD', 'held', { status: OutcomeStatus.HELD, error: undefined }],
    ['RECIPIENT_ABSENT', 'absent', { error: { reason: ErrorReason.RECIPIENT_ABSENT, retryable: true } }],
    ['RECIPIENT_TIMEOUT', 'unanswered', { error: { reason: ErrorReason.RECIPIENT_TIMEOUT, retryable: true } }],
    [
      'the refusal of the other server',
      new MeshError(ErrorReason.RECIPIENT_SLOW, 'full'),
      { status: OutcomeStatus.REFUSED, error: { reason: ErrorReason.RECIPIENT_SLOW } },
    ],
  ])('answers %s', async (_name, answer, outcome) => {
    const { route, elsewhere } = setUp()
    elsewhere.answer = answer
    expect(await route(3)).toMatchObject(outcome)
  })

  test('remembers the id when it was taken there, and not when it was refused', async () => {
    const { route, elsewhere } = setUp()
    const id = sessionBytes(9)
    elsewhere.answer = 'absent'
    await route(3, { id })
    elsewhere.answer = 'delivered'
    expect((await route(3, { id })).error).toBeUndefined()
    expect((await route(3, { id })).error?.reason).toBe(ErrorReason.DUPLICATE)
  })

  test('takes a sender for a member whose newer session is at another server', async () => {
    const { route, show } = setUp()
    show(1, 50n)
    expect((await route(3)).error).toBeUndefined()
  })

  test('prefers a session here that is read to a newer one elsewhere, and the newer one to one that is not', async () => {
    const { route, show, bob, elsewhere } = setUp()
    show(2, 50n)
    await route(2)
    expect(elsewhere.sent).toHaveLength(1)
    const reader = new TestReader(bob)
    expect(await route(2, { payload: new Uint8Array([2]) })).toMatchObject({ status: OutcomeStatus.DELIVERED })
    expect(elsewhere.sent).toHaveLength(1)
    expect(payloads(reader)).toEqual([2])
  })

  test('sends to a certain session where that is, whatever else the recipient has', async () => {
    const { route, show, bob, elsewhere } = setUp()
    new TestReader(bob)
    show(2, 50n)
    await route(2, { toSession: sessionBytes(102) })
    expect(elsewhere.sent).toHaveLength(1)
    await route(2, { toSession: bob.id })
    expect(elsewhere.sent).toHaveLength(1)
    expect((await route(2, { toSession: sessionBytes(99) })).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
  })

  test('sends what it holds when the recipient appears there, with the ttl that is left', async () => {
    const { route, show, bob, sessions, elsewhere, clock, router } = setUp()
    sessions.end(bob, { kind: 'closed' })
    await route(2, { ttlMs: 30_000 })
    await clock.advance(10_000)
    expect(router.awaits(byteKey(keyBytes(1)))).toBe(true)
    show(2, 50n, 7)
    expect(elsewhere.sent).toHaveLength(0)
    show(2, 50n)
    expect(elsewhere.sent).toMatchObject([{ ttlMs: 20_000 }])
    expect(router.heldCount).toBe(0)
    expect(router.awaits(byteKey(keyBytes(1)))).toBe(false)
  })
})

describe('what another server sends', () => {
  test('is delivered to a session that is read, and held by one that is not', () => {
    const { receive, bob } = setUp()
    expect(receive()).toBe('held')
    const reader = new TestReader(bob)
    expect(receive({ payload: new Uint8Array([2]) })).toBe('delivered')
    expect(payloads(reader)).toEqual([1, 2])
  })

  test('gets the same answer again, and is delivered once, also to a newer session', () => {
    const { receive, bob, open, join } = setUp()
    const id = sessionBytes(9)
    const reader = new TestReader(bob)
    expect([receive({ id }), receive({ id })]).toEqual(['delivered', 'delivered'])
    expect(payloads(reader)).toEqual([1])
    const newer = open(2, 2n)
    join(newer)
    expect(receive({ id })).toBe('delivered')
    expect(payloads(new TestReader(newer))).toEqual([])
  })

  test('is known again when its sender moves here and repeats it', async () => {
    const { receive, route, open, join, bob } = setUp()
    const id = sessionBytes(9)
    receive({ id })
    const carol = open(3, 2n)
    join(carol)
    expect((await route(2, { id }, carol)).error?.reason).toBe(ErrorReason.DUPLICATE)
    expect(payloads(new TestReader(bob))).toEqual([1])
  })

  test('is absent when nobody is a member here, or by another session', () => {
    const { receive } = setUp()
    expect(receive({ to: keyBytes(8) })).toBe('absent')
    expect(receive({ toSession: sessionBytes(9) })).toBe('absent')
  })

  test.each([
    ['id of 15 bytes', { id: new Uint8Array(15) }, ErrorReason.INVALID_ARGUMENT],
    ['no payload', { payload: new Uint8Array() }, ErrorReason.INVALID_ARGUMENT],
    ['payload that is too large', { payload: new Uint8Array(65_537) }, ErrorReason.LIMIT_EXCEEDED],
    ['sender that is no member', { from: keyBytes(50) }, ErrorReason.NOT_MEMBER],
  ])('is refused with an %s', (_name, overrides, reason) => {
    const { receive } = setUp()
    expect(receive(overrides)).toMatchObject({ reason })
  })

  test('is taken from a sender that left a moment ago, not from one that left long ago', async () => {
    const { receive, alice, sessions, clock } = setUp({ leaseMs: 600_000 })
    sessions.end(alice, { kind: 'closed' })
    expect(receive({ from: keyBytes(1) })).toBe('held')
    await clock.advance(30_001)
    expect(receive({ from: keyBytes(1) })).toMatchObject({ reason: ErrorReason.NOT_MEMBER })
  })

  test('is taken from whomever the other server says while its members are on their way here, and refused afterwards', () => {
    const { receive, elsewhere } = setUp()
    elsewhere.isCatchingUp = true
    expect(receive({ from: keyBytes(50) })).toBe('held')
    expect(receive({ from: keyBytes(50), to: keyBytes(8) })).toBe('absent')
    elsewhere.isCatchingUp = false
    expect(receive({ from: keyBytes(50) })).toMatchObject({ reason: ErrorReason.NOT_MEMBER })
  })

  test('is refused as slow when the queue is full, and may come again', () => {
    const { receive, bob } = setUp({ maxStreamQueueBytes: 1_000 })
    const payload = new Uint8Array(400)
    const id = sessionBytes(9)
    receive({ payload })
    expect(receive({ payload, id })).toMatchObject({ reason: ErrorReason.RECIPIENT_SLOW })
    new TestReader(bob).read()
    expect(receive({ payload, id })).toBe('delivered')
  })

  test('waits for a session that is about to join, if it may be held', () => {
    const { receive, open, join, router } = setUp()
    const newer = open(2, 2n)
    expect(receive({ ttlMs: 0 })).toBe('absent')
    expect(receive({ ttlMs: 60_000 })).toBe('held')
    expect(router.heldCount).toBe(1)
    join(newer)
    expect(ttls(newer)).toEqual([30_000])
  })
})

describe('what a session leaves unread', () => {
  const NEW_PROCESS = 2n << 20n

  test('goes to where its peer is now, if its ttl lasts and it is not for that session', async () => {
    const { receive, show, bob, clock, elsewhere } = setUp()
    receive({ ttlMs: 10_000 })
    receive({ ttlMs: 0 })
    receive({ ttlMs: 2_000 })
    receive({ ttlMs: 10_000, toSession: bob.id })
    await clock.advance(3_000)
    show(2, NEW_PROCESS)
    expect(bob.end).toMatchObject({ kind: 'moved' })
    expect(elsewhere.sent).toMatchObject([{ ttlMs: 7_000, from: byteKey(keyBytes(3)) }])
  })

  test('is not sent when somebody has read it', () => {
    const { receive, show, bob, elsewhere } = setUp()
    receive({ ttlMs: 10_000 })
    const reader = new TestReader(bob)
    reader.read()
    reader.stream.close()
    show(2, NEW_PROCESS)
    expect(elsewhere.sent).toEqual([])
  })

  test('goes to the newer session that replaces it here', () => {
    const { receive, open, join, router } = setUp()
    receive({ ttlMs: 10_000 })
    const newer = open(2, 2n)
    expect(router.heldCount).toBe(1)
    join(newer)
    expect(payloads(new TestReader(newer))).toEqual([1])
  })

  test('is held whole, also when it is more than may be held for one who is away', () => {
    const { receive, open, join, router } = setUp({ maxHeldMessages: 2 })
    for (let count = 0; count < 5; count++) receive({ ttlMs: 10_000 })
    const newer = open(2, 2n)
    expect(router.heldCount).toBe(5)
    expect(receive({ ttlMs: 10_000 })).toBe('absent')
    join(newer)
    expect(payloads(new TestReader(newer))).toHaveLength(5)
  })

  test('waits for a peer whose lease ran out, and goes where it appears', async () => {
    const { receive, show, clock, elsewhere, router } = setUp()
    receive({ ttlMs: 30_000 })
    await clock.advance(15_000)
    expect(router.heldCount).toBe(1)
    show(2, 50n)
    expect(elsewhere.sent).toMatchObject([{ ttlMs: 15_000 }])
  })

  test('waits for a peer whose lease ran out, and is delivered once when it comes back here and so does the message', async () => {
    const { receive, clock, open, join } = setUp()
    const id = sessionBytes(7)
    receive({ id, ttlMs: 30_000 })
    await clock.advance(15_000)
    const back = open(2, 2n)
    join(back)
    const reader = new TestReader(back)
    expect(receive({ id, ttlMs: 10_000 })).toBe('held')
    expect(payloads(reader)).toEqual([1])
  })

  test('is sent again when the way was crowded, all of it together', async () => {
    const { receive, show, elsewhere, clock, router } = setUp()
    for (let i = 0; i < 5; i++) receive({ ttlMs: 10_000 })
    elsewhere.answer = new MeshError(ErrorReason.RECIPIENT_SLOW, 'crowded', { retryAfterMs: 1_000 })
    show(2, NEW_PROCESS)
    await clock.advance(999)
    expect(elsewhere.sent).toHaveLength(5)
    expect(router.heldCount).toBe(5)
    await clock.advance(1)
    expect(elsewhere.sent).toHaveLength(10)
    expect(elsewhere.sent.at(-1)).toMatchObject({ ttlMs: 9_000 })
    await clock.advance(9_000)
    expect(router.heldCount).toBe(0)
    elsewhere.sent.length = 0
    await clock.advance(60_000)
    expect(elsewhere.sent).toEqual([])
  })

  test('comes back with its peer, and is delivered once', () => {
    const { receive, show, open, join, router, elsewhere } = setUp()
    receive({ ttlMs: 30_000 })
    show(2, NEW_PROCESS)
    const [sent] = elsewhere.sent
    const back = open(2, 2n * NEW_PROCESS)
    join(back)
    const reader = new TestReader(back)
    if (sent === undefined) throw new Error('nothing was sent on')
    expect([router.receive(sent), router.receive(sent)]).toEqual(['delivered', 'delivered'])
    expect(payloads(reader)).toEqual([1])
  })

  test('goes down with the server that stops', async () => {
    const { receive, elsewhere, close, router } = setUp()
    receive({ ttlMs: 30_000 })
    await close()
    expect(elsewhere.sent).toEqual([])
    expect(router.heldCount).toBe(0)
  })
})
