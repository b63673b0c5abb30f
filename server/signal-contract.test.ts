import { fromBinary } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import { ErrorReason, systemRandom } from '@mesh/core'
import { MembershipKind, MembershipRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason, NoticeKind, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { refusalOf } from './testing/reason-of.ts'
import { eventually, useServers } from './testing/serve.ts'
import { isPlain, TestPeer, WIRES } from './testing/test-peer.ts'

const serve = useServers()
const newTopic = (): Uint8Array => systemRandom.bytes(32)
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe.each(WIRES)('SignalService by $name', (wire) => {
  async function pair(): Promise<{ alice: TestPeer; bob: TestPeer; topic: Uint8Array; origin: string }> {
    const { origin } = await serve()
    const [alice, bob] = await Promise.all([TestPeer.open({ origin, wire }), TestPeer.open({ origin, wire })])
    const topic = newTopic()
    await alice.join(topic)
    await bob.join(topic)
    return { alice, bob, topic, origin }
  }

  test('a session opens with the proof of a key and is renewed by its token', async () => {
    const { origin } = await serve()
    const peer = await TestPeer.create({ origin, wire })
    const opened = await peer.openSession()
    const firstId = peer.sessionId
    const renewed = await peer.openSession()
    expect(opened).toMatchObject({ renewed: false, heartbeatMs: 10_000, leaseMs: 15_000 })
    expect(opened.limits).toMatchObject({ maxMessageBytes: 65_536, maxTopics: 128, messagesPerSecond: 50 })
    expect(renewed.renewed).toBe(true)
    expect(peer.sessionId).toEqual(firstId)
  })

  test('a call without a token is refused with the typed reason', async () => {
    const { origin } = await serve()
    const peer = await TestPeer.create({ origin, wire })
    const refusal = await refusalOf(peer.client.closeSession({}))
    expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_MISSING, code: Code.Unauthenticated })
  })

  test('Subscribe without a token is refused with the typed reason', async () => {
    const { origin } = await serve()
    const peer = await TestPeer.create({ origin, wire })
    const refusal = await refusalOf(peer.subscribe().opened())
    expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_MISSING, code: Code.Unauthenticated })
  })

  test('Subscribe answers at once, with a heartbeat when there is nothing else', async () => {
    const { origin } = await serve()
    const peer = await TestPeer.open({ origin, wire })
    const heartbeat = await peer.subscribe().next('heartbeat')
    expect(Number(heartbeat.serverTimeMs)).toBeGreaterThan(1_600_000_000_000)
    expect(heartbeat.$cursor).toBe(0n)
  })

  test('members hear of a join, an update and a leave as they happen', async () => {
    const { origin } = await serve()
    const [alice, bob] = await Promise.all([TestPeer.open({ origin, wire }), TestPeer.open({ origin, wire })])
    const topic = newTopic()
    const events = await alice.subscribe().opened()
    const first = await alice.join(topic)
    expect(first).toMatchObject({ memberCount: 1, members: [] })

    const second = await bob.join(topic)
    expect(second.memberCount).toBe(2)
    expect(second.revision).toBeGreaterThan(first.revision)
    const joined = await events.next('members')
    expect(joined.revision).toBe(second.revision)
    expect(fromBinary(MembershipRecordSchema, joined.joined[0]!.record).peerKey).toEqual(bob.key.publicKey)

    await bob.join(topic, { state: utf8('away') })
    const updated = await events.next('members')
    expect(fromBinary(MembershipRecordSchema, updated.updated[0]!.record).state).toEqual(utf8('away'))

    await bob.leave(topic)
    const left = await events.next('members')
    expect(left.left[0]).toMatchObject({ reason: DepartureReason.LEFT, peerKey: bob.key.publicKey })
    expect(left.left[0]!.record).toBeDefined()
  })

  test('a message arrives stamped with its true sender, and its outcome says delivered', async () => {
    const { alice, bob, topic } = await pair()
    const events = await alice.subscribe().opened()
    const id = systemRandom.bytes(16)
    const envelope = { id, to: alice.key.publicKey, topic, payload: utf8('hello'), from: new Uint8Array(32).fill(9) }
    const { outcomes } = await bob.client.sendMessage({ envelopes: [envelope] }, bob.auth)
    expect(outcomes).toMatchObject([{ id, status: OutcomeStatus.DELIVERED }])
    const message = await events.next('message')
    expect(message).toMatchObject({ id, topic, payload: utf8('hello'), from: bob.key.publicKey })
    expect(message.fromSession).toEqual(bob.sessionId)
  })

  test('a batch is answered with one outcome per envelope, in order', async () => {
    const { alice, bob, topic } = await pair()
    const envelope = (to: Uint8Array) => ({ id: systemRandom.bytes(16), to, topic, payload: utf8('x') })
    const envelopes = [
      envelope(alice.key.publicKey),
      envelope(systemRandom.bytes(32)),
      { ...envelope(alice.key.publicKey), id: new Uint8Array(3) },
      envelope(alice.key.publicKey),
    ]
    const { outcomes } = await bob.client.sendMessage({ envelopes: [...envelopes, envelopes[0]!] }, bob.auth)
    expect(outcomes.map((outcome) => outcome.id)).toEqual([...envelopes, envelopes[0]!].map(({ id }) => id))
    expect(outcomes.map((outcome) => outcome.error?.reason)).toEqual([
      undefined,
      ErrorReason.RECIPIENT_ABSENT,
      ErrorReason.INVALID_ARGUMENT,
      undefined,
      ErrorReason.DUPLICATE,
    ])
  })

  test('an empty SendMessage and one with too many envelopes are refused', async () => {
    const { alice, bob, topic } = await pair()
    const empty = await refusalOf(bob.client.sendMessage({}, bob.auth))
    expect(empty).toMatchObject({ reason: ErrorReason.INVALID_ARGUMENT, code: Code.InvalidArgument })
    const one = { id: systemRandom.bytes(16), to: alice.key.publicKey, topic, payload: utf8('x') }
    const many = await refusalOf(bob.client.sendMessage({ envelopes: new Array(65).fill(one) }, bob.auth))
    expect(many).toMatchObject({ limit: 'max_envelopes_per_request', limitValue: 64n, value: 65n })
    expect(many.code).toBe(Code.ResourceExhausted)
  })

  test('a message over the size limit is refused in its outcome, a body over it as a call', async () => {
    const { alice, bob, topic } = await pair()
    const outcome = await bob.send(alice.key.publicKey, topic, new Uint8Array(65_537))
    expect(outcome.error).toMatchObject({ limit: 'max_message_bytes', limitValue: 65_536n, value: 65_537n })
    const tooLarge = await refusalOf(bob.send(alice.key.publicKey, topic, new Uint8Array(200_000)))
    expect(tooLarge).toMatchObject({ limit: 'max_request_bytes', limitValue: 131_072n, code: Code.ResourceExhausted })
  })

  test('a stream that breaks resumes from its cursor without losing or repeating an event', async () => {
    const { alice, bob, topic } = await pair()
    const first = await alice.subscribe().opened()
    await bob.send(alice.key.publicKey, topic, utf8('1'))
    const { $cursor } = await first.next('message')
    first.cancel()
    for (const text of ['2', '3', '4']) await bob.send(alice.key.publicKey, topic, utf8(text))
    const second = alice.subscribe($cursor)
    const texts: string[] = []
    for (let i = 0; i < 3; i++) texts.push(new TextDecoder().decode((await second.next('message')).payload))
    expect(texts).toEqual(['2', '3', '4'])
  })

  test('a cursor from the future is refused', async () => {
    const { origin } = await serve()
    const peer = await TestPeer.open({ origin, wire })
    const refusal = await refusalOf(peer.subscribe(1_000n).opened())
    expect(refusal).toMatchObject({ reason: ErrorReason.CURSOR_INVALID, value: 1_000n, code: Code.OutOfRange })
  })

  test('CloseSession ends the streams with a notice and tells the others LEFT', async () => {
    const { alice, bob } = await pair()
    const own = await alice.subscribe().opened()
    const others = await bob.subscribe().opened()
    await alice.client.closeSession({}, alice.auth)
    expect(await own.next('notice')).toMatchObject({ kind: NoticeKind.SESSION_CLOSED })
    expect(await refusalOf(own.next('heartbeat'))).toMatchObject({ reason: ErrorReason.SESSION_CLOSED })
    expect((await others.next('members')).left[0]).toMatchObject({ reason: DepartureReason.LEFT })
    expect(await refusalOf(alice.join(newTopic()))).toMatchObject({ reason: ErrorReason.SESSION_CLOSED })
  })

  test('a newer session of the same peer takes over, and the older is told why', async () => {
    const { alice, bob, topic, origin } = await pair()
    const older = await alice.subscribe().opened()
    const watcher = await bob.subscribe().opened()
    const newer = await TestPeer.open({ origin, wire, key: alice.key, order: 7n })
    expect(await older.next('notice')).toMatchObject({ kind: NoticeKind.SESSION_REPLACED, detail: { value: 7n } })
    const ended = await refusalOf(older.next('heartbeat'))
    expect(ended).toMatchObject({ reason: ErrorReason.SESSION_REPLACED, value: 7n, code: Code.Aborted })
    const refused = await refusalOf(TestPeer.open({ origin, wire, key: alice.key, order: 6n }))
    expect(refused).toMatchObject({ reason: ErrorReason.SESSION_REPLACED, value: 7n })
    await newer.join(topic, { seq: 50n })
    const { updated } = await watcher.next('members')
    expect(fromBinary(MembershipRecordSchema, updated[0]!.record).sessionId).toEqual(newer.sessionId)
  })

  test('Lookup pages through a topic and finds nobody in an unknown one', async () => {
    const { alice, bob, topic } = await pair()
    const first = await alice.client.lookup({ target: { case: 'topic', value: topic }, pageSize: 1 }, alice.auth)
    expect(first.members).toHaveLength(1)
    const { nextPageToken: pageToken } = first
    const second = await alice.client.lookup(
      { target: { case: 'topic', value: topic }, pageSize: 1, pageToken },
      alice.auth,
    )
    expect(second).toMatchObject({ nextPageToken: '' })
    const found = [...first.members, ...second.members].map(({ record }) => fromBinary(MembershipRecordSchema, record))
    expect(found.map(({ kind }) => kind)).toEqual([MembershipKind.JOIN, MembershipKind.JOIN])
    expect(new Set(found.map(({ peerKey }) => String(peerKey)))).toEqual(
      new Set([String(alice.key.publicKey), String(bob.key.publicKey)]),
    )
    const nobody = await alice.client.lookup({ target: { case: 'topic', value: newTopic() } }, alice.auth)
    expect(nobody.members).toEqual([])
    expect(await refusalOf(alice.client.lookup({}, alice.auth))).toMatchObject({ code: Code.InvalidArgument })
  })
})

/** gRPC-Web and HTTP/1.1 have no streams of requests. */
const BIDI_WIRES = WIRES.filter(({ httpVersion, protocol }) => httpVersion === '2' && protocol !== 'grpc-web')

describe.each(BIDI_WIRES)('Exchange by $name', (wire) => {
  test('events and outcomes come on the stream that sends the envelopes', async () => {
    const { origin } = await serve()
    const [alice, bob] = await Promise.all([TestPeer.open({ origin, wire }), TestPeer.open({ origin, wire })])
    const topic = newTopic()
    await alice.join(topic)
    await bob.join(topic)
    const [left, right] = [alice.exchange(), bob.exchange()]
    left.send({})
    right.send({})
    await Promise.all([left.events.opened(), right.events.opened()])

    const envelopes = ['a', 'b', 'c'].map((text) => ({
      id: systemRandom.bytes(16),
      to: bob.key.publicKey,
      topic,
      payload: utf8(text),
    }))
    left.send({ envelopes })
    const got = [
      await right.events.next('message'),
      await right.events.next('message'),
      await right.events.next('message'),
    ]
    expect(got.map(({ payload }) => new TextDecoder().decode(payload))).toEqual(['a', 'b', 'c'])
    expect(got[0]).toMatchObject({ from: alice.key.publicKey, fromSession: alice.sessionId })

    const reply = { id: systemRandom.bytes(16), to: alice.key.publicKey, topic, payload: utf8('back') }
    right.send({ acknowledged: got[2]!.$cursor, envelopes: [reply, reply] })
    expect((await left.events.next('message')).payload).toEqual(utf8('back'))
    void right.events.rest()
    await eventually(() => right.outcomes.length === 2)
    expect(left.outcomes.map(({ status }) => status)).toEqual(new Array(3).fill(OutcomeStatus.DELIVERED))
    expect(right.outcomes.map(({ error }) => error?.reason)).toEqual([undefined, ErrorReason.DUPLICATE])
    left.events.cancel()
    right.events.cancel()
  })

  test('a client that ends its half still gets events', async () => {
    const { origin } = await serve()
    const [alice, bob] = await Promise.all([TestPeer.open({ origin, wire }), TestPeer.open({ origin, wire })])
    const topic = newTopic()
    await alice.join(topic)
    await bob.join(topic)
    const call = alice.exchange()
    call.send({})
    call.end()
    await call.events.opened()
    await bob.send(alice.key.publicKey, topic, utf8('late'))
    expect((await call.events.next('message')).payload).toEqual(utf8('late'))
    call.events.cancel()
  })

  test('too many envelopes in one message end the stream with the typed reason', async () => {
    const { origin } = await serve()
    const alice = await TestPeer.open({ origin, wire })
    const call = alice.exchange()
    const one = { id: systemRandom.bytes(16), to: newTopic(), topic: newTopic(), payload: utf8('x') }
    call.send({ envelopes: new Array(65).fill(one) })
    const refusal = await refusalOf(call.events.next('message'))
    expect(refusal).toMatchObject({ limit: 'max_envelopes_per_request', code: Code.ResourceExhausted })
  })
})

test.each(WIRES.filter(isPlain))('the hot calls by $name take the fast lane', async (wire) => {
  const { origin } = await serve()
  const [alice, bob] = await Promise.all([TestPeer.open({ origin, wire }), TestPeer.open({ origin, wire })])
  const topic = newTopic()
  await alice.join(topic)
  await bob.join(topic)
  await alice.subscribe().opened()
  await bob.send(alice.key.publicKey, topic, utf8('x'))
  const metrics = await (await fetch(`${origin}/metrics`)).text()
  expect(metrics).toMatch(/mesh_lane_calls_total\{lane="fast"\} 2\n/)
})
