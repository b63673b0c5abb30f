import { randomBytes } from 'node:crypto'
import { ErrorReason } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { eventually, TestPeer, useServers } from '@mesh/server/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ForeignMember, REALM, type RealmServer, startRealm } from './realm.fixture.ts'
import { type Envelope, type Frame, Key, type Row } from './replicate-messages.fixture.ts'
import { digestOf, ReplicatePeer } from './replicate-peer.fixture.ts'

const topic = randomBytes(32)
const serve = useServers()
let key: Key
let foreign: ReplicatePeer
let dave: ForeignMember
let a: RealmServer
let b: RealmServer

beforeEach(async () => {
  key = new Key()
  foreign = new ReplicatePeer(key, REALM)
  dave = new ForeignMember(key.publicKey)
  ;[a, b] = await startRealm(serve, [key.publicKey])
})

afterEach(() => foreign.close())

type Member = Awaited<ReturnType<typeof openMember>>

/** A client of ours at one of our servers, in the topic. */
async function openMember(at: RealmServer) {
  const peer = await TestPeer.open({ origin: at.served.origin })
  await peer.join(topic)
  return { peer, key: Buffer.from(peer.key.publicKey), events: await peer.subscribe().opened() }
}

/** Calls both servers. */
async function joinRealm(): Promise<void> {
  await Promise.all([foreign.join(a.target), foreign.join(b.target)])
}

function envelopeFrom(from: ForeignMember, to: Buffer, text: string): Envelope {
  const addresses = { to, from: from.key.publicKey, fromSession: from.session }
  return { id: randomBytes(16), ...addresses, topic, payload: Buffer.from(text) }
}

/** The next change of the topic that brings this row's record. */
async function joinOf({ record }: Row, { events }: Pick<Member, 'events'>): Promise<void> {
  for (;;) {
    const { joined } = await events.next('members')
    if (joined.some((signed) => record?.record.equals(signed.record))) return
  }
}

describe('a server of another implementation', () => {
  test('sees the members of the others, and they see its own', async () => {
    const [alice, bob] = await Promise.all([openMember(a), openMember(b)])
    await joinRealm()
    await eventually(() => foreign.members(a.key, topic).length === 1 && foreign.members(b.key, topic).length === 1)
    expect(foreign.members(a.key, topic)[0]?.peerKey).toEqual(alice.key)
    expect(foreign.members(b.key, topic)[0]?.peerKey).toEqual(bob.key)

    const row = dave.row(topic)
    foreign.log(row)
    await Promise.all([joinOf(row, alice), joinOf(row, bob)])
    expect(await a.originOf(key.publicKey)).toMatchObject({
      state: 'live',
      rows: 1,
      digest: digestOf([row]).toString('hex'),
    })
  })

  test('gets a message for its member and answers with what becomes of it', async () => {
    const alice = await openMember(a)
    await joinRealm()
    foreign.log(dave.row(topic))
    await alice.events.next('members')
    const got: Envelope[] = []
    foreign.onEnvelope = (envelope) => {
      got.push(envelope)
      return { status: 'OUTCOME_STATUS_DELIVERED' }
    }
    const send = () => alice.peer.send(dave.key.publicKey, topic, Buffer.from('hello'))
    expect(await send()).toMatchObject({ status: OutcomeStatus.DELIVERED })
    const stamped = { from: alice.key, fromSession: Buffer.from(alice.peer.sessionId) }
    expect(got).toMatchObject([{ ...stamped, to: dave.key.publicKey, topic, payload: Buffer.from('hello') }])

    foreign.onEnvelope = () => ({ status: 'OUTCOME_STATUS_HELD' })
    expect(await send()).toMatchObject({ status: OutcomeStatus.HELD })
    const error = { reason: 'ERROR_REASON_RECIPIENT_SLOW' }
    foreign.onEnvelope = () => ({ status: 'OUTCOME_STATUS_REFUSED', error })
    const refused = { status: OutcomeStatus.REFUSED, error: { reason: ErrorReason.RECIPIENT_SLOW } }
    expect(await send()).toMatchObject(refused)
  })

  test('delivers a message to a member of another server, once', async () => {
    const alice = await openMember(a)
    await joinRealm()
    foreign.log(dave.row(topic))
    await alice.events.next('members')
    const envelope = envelopeFrom(dave, alice.key, 'hello')
    expect(await foreign.send(a.key, envelope)).toMatchObject({ status: 'OUTCOME_STATUS_DELIVERED' })
    expect(await foreign.send(a.key, envelope)).toMatchObject({ status: 'OUTCOME_STATUS_DELIVERED' })
    await foreign.send(a.key, envelopeFrom(dave, alice.key, 'bye'))
    const texts = [await alice.events.next('message'), await alice.events.next('message')]
    expect(texts.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['hello', 'bye'])
    expect(Buffer.from(texts[0]?.from ?? [])).toEqual(dave.key.publicKey)
  })

  test('learns that a message has come to the wrong server', async () => {
    const alice = await openMember(a)
    await joinRealm()
    foreign.log(dave.row(topic))
    await alice.events.next('members')
    const receipt = await foreign.send(b.key, envelopeFrom(dave, alice.key, 'hello'))
    expect(receipt).toMatchObject({ status: 'OUTCOME_STATUS_REFUSED', error: { reason: 'ERROR_REASON_NOT_HERE' } })
  })

  test('has its member leave when its log says so', async () => {
    const alice = await openMember(a)
    await joinRealm()
    foreign.log(dave.row(topic))
    await alice.events.next('members')
    foreign.log(dave.gone(topic))
    const { left } = await alice.events.next('members')
    expect(left).toMatchObject([{ reason: DepartureReason.LEFT }])
    expect(Buffer.from(left[0]?.peerKey ?? [])).toEqual(dave.key.publicKey)
  })

  test('goes on where it was after a broken line, on both sides', async () => {
    const [alice, row] = [await openMember(a), dave.row(topic)]
    await joinRealm()
    foreign.log(row)
    await joinOf(row, alice)
    await eventually(() => foreign.members(a.key, topic).length === 1)

    await foreign.disconnect()
    await eventually(async () => (await a.neighbour(key.publicKey))?.directory === false)
    const carol = await openMember(a)
    const frames: Frame[] = []
    foreign.onFrame = (frame) => frames.push(frame) < 0
    const { directory } = await foreign.join(a.target)
    expect(directory.theirs.have).toContainEqual({
      origin: key.publicKey,
      epoch: String(foreign.epoch),
      seq: String(foreign.seq),
    })
    await eventually(() => foreign.members(a.key, topic).length === 2)
    const rows = frames.flatMap((frame) => frame.rows ?? [])
    expect(rows).toMatchObject([{ snapshot: null, fromSeq: '2', toSeq: '2', rows: [{ peerKey: carol.key }] }])
    foreign.log(dave.gone(topic))
    const seen = [await alice.events.next('members'), await alice.events.next('members')]
    expect(seen.map(({ joined, left }) => [joined.length, left.length])).toEqual([
      [1, 0], // carol: nobody saw Dave leave and come back
      [0, 1],
    ])
  })

  test('moves past its own former epoch when its clock was set back', async () => {
    const alice = await openMember(a)
    await foreign.join(a.target)
    foreign.log(dave.row(topic))
    await alice.events.next('members')
    await foreign.close()

    const hourAgo = BigInt(Date.now() - 3_600_000)
    const former = foreign.epoch
    foreign = new ReplicatePeer(key, REALM, hourAgo)
    expect(foreign.epoch).toBeLessThan(former)
    await foreign.join(a.target)
    await eventually(() => foreign.epoch > former)
    const erin = new ForeignMember(key.publicKey)
    const row = erin.row(topic)
    foreign.log(row)
    await joinOf(row, alice)
    expect(await a.originOf(key.publicKey)).toMatchObject({ epoch: String(foreign.epoch), rows: 1 })
  })
})
