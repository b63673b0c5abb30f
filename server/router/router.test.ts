import { create } from '@bufbuild/protobuf'
import { ErrorReason } from '@mesh/core'
import { EnvelopeSchema, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import type { Session } from '../session/session.ts'
import { TestReader, testDomain } from '../testing/domain.ts'
import { keyBytes, sessionBytes } from '../testing/records.ts'
import { outgoingEnvelope } from './envelope.ts'
import type { EnvelopeOutcome } from './outcome.ts'

let lastId = 0

function envelope(to: number, overrides: object = {}) {
  lastId += 1
  const id = sessionBytes(0)
  new DataView(id.buffer).setUint32(0, lastId)
  const fields = { id, to: keyBytes(to), topic: keyBytes(1), payload: new Uint8Array([1]), ...overrides }
  return outgoingEnvelope(create(EnvelopeSchema, fields))
}

function setUp(limits = {}) {
  const domain = testDomain(limits)
  const [alice, bob] = [domain.open(1), domain.open(2)]
  domain.join(alice)
  domain.join(bob)
  const route = (to: number, overrides?: object, from: Session = alice): EnvelopeOutcome => {
    const outcomes: EnvelopeOutcome[] = []
    domain.router.route(from, envelope(to, overrides), (outcome) => outcomes.push(outcome))
    return outcomes[0] as EnvelopeOutcome
  }
  const payloads = (reader: TestReader): number[] =>
    reader.read().flatMap(({ event }) => (event.case === 'message' ? [event.value.payload[0] as number] : []))
  return { ...domain, alice, bob, route, payloads }
}

describe('the router', () => {
  test('delivers to the recipient and stamps the sender', () => {
    const { route, bob, alice } = setUp()
    const reader = new TestReader(bob)
    expect(route(2)).toMatchObject({ status: OutcomeStatus.DELIVERED })
    const [message] = reader.read().filter(({ event }) => event.case === 'message')
    expect(message?.event).toMatchObject({ value: { from: alice.peerKey, fromSession: alice.id } })
  })

  test('holds in the queue of a session that is between two streams', async () => {
    const { route, bob, clock, payloads } = setUp()
    new TestReader(bob).stream.close()
    await clock.advance(10_000)
    expect(route(2).status).toBe(OutcomeStatus.HELD)
    expect(payloads(new TestReader(bob))).toEqual([1])
  })

  test.each([
    ['id of 15 bytes', { id: new Uint8Array(15) }],
    ['recipient of 31 bytes', { to: new Uint8Array(31) }],
    ['topic of 33 bytes', { topic: new Uint8Array(33) }],
    ['session of 1 byte', { toSession: new Uint8Array(1) }],
    ['no payload', { payload: new Uint8Array() }],
  ])('refuses an envelope with an %s', (_name, overrides) => {
    const { route } = setUp()
    expect(route(2, overrides).error).toMatchObject({ reason: ErrorReason.INVALID_ARGUMENT })
  })

  test('refuses what is too large or asks to be held too long, naming the limit', () => {
    const { route } = setUp()
    expect(route(2, { payload: new Uint8Array(65_537) }).error).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'max_message_bytes',
      limitValue: 65_536n,
      value: 65_537n,
    })
    expect(route(2, { ttlMs: 30_001 }).error).toMatchObject({ limit: 'max_hold_ms', limitValue: 30_000n })
  })

  test('refuses a sender that is not a member, also when its peer is one by another session', () => {
    const { route, open, join } = setUp()
    expect(route(2, {}, open(3)).error?.reason).toBe(ErrorReason.NOT_MEMBER)
    const older = open(4, 1n)
    join(older)
    expect(route(2, {}, open(4, 2n)).error?.reason).toBe(ErrorReason.NOT_MEMBER)
  })

  test('refuses a repeated id of the same peer, not one of another, and not one that was refused before', () => {
    const { route, bob } = setUp()
    const id = sessionBytes(7)
    expect(route(8, { id }).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
    expect(route(2, { id }).error).toBeUndefined()
    expect(route(2, { id }).error?.reason).toBe(ErrorReason.DUPLICATE)
    expect(route(1, { id }, bob).error).toBeUndefined()
  })

  test('knows an id again after the peer opened a newer session', () => {
    const { route, open, join } = setUp()
    const id = sessionBytes(7)
    route(2, { id })
    const newer = open(1, 2n)
    join(newer)
    expect(route(2, { id }, newer).error?.reason).toBe(ErrorReason.DUPLICATE)
  })

  test('enforces the quota of a pair, then of a session, and says when to come back', async () => {
    const { route, clock, open, join } = setUp({ messagesBurst: 6, messagesPerSecond: 2, pairMessagesBurst: 3 })
    join(open(3))
    const outcomes = Array.from({ length: 4 }, () => route(2).error)
    expect(outcomes[3]).toMatchObject({ limit: 'pair_messages_per_second', limitValue: 20n, retryAfterMs: 50 })
    expect(route(3).error).toBeUndefined()
    expect(route(3).error).toBeUndefined()
    expect(route(3).error).toMatchObject({ limit: 'messages_per_second', limitValue: 2n, retryAfterMs: 500 })
    await clock.advance(500)
    expect(route(3).error).toBeUndefined()
  })

  test('refuses what does not fit the queue of a recipient that does not read', () => {
    const { route, bob } = setUp({ maxStreamQueueBytes: 1_000 })
    const statuses = Array.from({ length: 10 }, () => route(2, { payload: new Uint8Array(200) }))
    expect(statuses.filter(({ error }) => error === undefined).length).toBeLessThan(4)
    expect(statuses.at(-1)?.error).toMatchObject({ reason: ErrorReason.RECIPIENT_SLOW, retryable: true })
    expect(bob.queuedBytes).toBeLessThanOrEqual(1_000)
    new TestReader(bob).read()
    expect(route(2).error).toBeUndefined()
  })

  test('delivers to a certain session only while the recipient holds it', () => {
    const { route, bob, sessions } = setUp()
    expect(route(2, { toSession: bob.id }).error).toBeUndefined()
    expect(route(2, { toSession: sessionBytes(9) }).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
    sessions.end(bob, { kind: 'expired' })
    expect(route(2, { toSession: bob.id, ttlMs: 1_000 }).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
  })

  test('holds for a recipient that was here a moment ago, and delivers in order when it is back', () => {
    const { route, bob, sessions, open, join, router, payloads } = setUp()
    sessions.end(bob, { kind: 'expired' })
    expect(route(2).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
    for (const value of [1, 2, 3]) {
      expect(route(2, { ttlMs: 30_000, payload: new Uint8Array([value]) }).status).toBe(OutcomeStatus.HELD)
    }
    expect(router.heldCount).toBe(3)
    const back = open(2, 2n)
    join(back, { topic: 5 })
    expect(router.heldCount).toBe(3)
    join(back)
    expect(payloads(new TestReader(back))).toEqual([1, 2, 3])
    expect(router.heldCount).toBe(0)
  })

  test('holds while a newer session of the recipient is still joining', () => {
    const { route, open, join, payloads } = setUp()
    const newer = open(2, 2n)
    expect(route(2, { ttlMs: 1_000 }).status).toBe(OutcomeStatus.HELD)
    join(newer)
    expect(payloads(new TestReader(newer))).toEqual([1])
  })

  test('drops what was held when its ttl has passed, and does not hold for one who left long ago', async () => {
    const { route, bob, sessions, clock, router } = setUp({ leaseMs: 600_000 })
    sessions.end(bob, { kind: 'closed' })
    route(2, { ttlMs: 5_000 })
    await clock.advance(4_999)
    expect(router.heldCount).toBe(1)
    await clock.advance(1)
    expect(router.heldCount).toBe(0)
    await clock.advance(25_001)
    expect(route(2, { ttlMs: 5_000 }).error?.reason).toBe(ErrorReason.RECIPIENT_ABSENT)
  })

  test('holds no more than allowed for one recipient, and in all', () => {
    const { route, bob, sessions, router } = setUp({ maxHeldMessages: 3, maxHeldBytes: 400 })
    sessions.end(bob, { kind: 'expired' })
    const small = Array.from({ length: 4 }, () => route(2, { ttlMs: 1_000 }).status)
    expect(small.filter((status) => status === OutcomeStatus.HELD).length).toBeLessThan(4)
    expect(route(2, { ttlMs: 1_000, payload: new Uint8Array(500) }).status).toBe(OutcomeStatus.REFUSED)
    router.close()
    expect(router.heldCount).toBe(0)
  })
})
