import { ErrorReason, generateSigningKey, type SigningKey } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { byteKey } from '../../byte-key.ts'
import { keyBytes } from '../../testing/records.ts'
import { PeerAt, Realm, urlOf } from './realm.fixture.ts'
import { promptKey } from './trunk/trunk.fixture.ts'

/** The order of the n-th session of a process. */
const order = (process: number, n = 1): bigint => (BigInt(process) << 20n) + BigInt(n)

let alice: SigningKey
let bob: SigningKey
let realm: Realm

beforeAll(async () => {
  ;[alice, bob] = (await Promise.all([promptKey(101), promptKey(102)])) as [SigningKey, SigningKey]
})

afterEach(() => realm.close())

/** Alice is at the first server and listens, Bob has a session at the second. */
async function setUp(servers = 3) {
  realm = await Realm.of(servers)
  const here = await new PeerAt(realm, 0, alice, order(1)).listen().join()
  const there = await new PeerAt(realm, 1, bob, order(1)).join()
  await realm.clock.advance(100)
  here.messages()
  return { here, there, clock: realm.clock, network: realm.network }
}

describe('a message to a peer at another server', () => {
  test('is DELIVERED to a session that listens, within a round trip', async () => {
    const { here, there, clock } = await setUp()
    there.listen()
    const sent = here.send(bob, 1)
    await clock.advance(25)
    expect(sent.status).toBe(OutcomeStatus.DELIVERED)
    expect(there.messages()).toEqual([1])
  })

  test('is HELD by a session between two streams, which finds it when it is back', async () => {
    const { here, there, clock } = await setUp()
    const sent = here.send(bob, 1)
    await clock.advance(25)
    expect(sent.status).toBe(OutcomeStatus.HELD)
    expect(there.listen().messages()).toEqual([1])
  })

  test('finds its recipient although the sender joined a moment ago', async () => {
    const { there, clock } = await setUp()
    there.listen()
    const carol = await promptKey(103)
    const sent = (await new PeerAt(realm, 2, carol, order(1)).join()).send(bob, 1)
    await clock.advance(500)
    expect(sent.status).toBe(OutcomeStatus.DELIVERED)
  })

  test('goes through a third server while the two cannot reach each other', async () => {
    const { here, there, clock, network } = await setUp()
    there.listen()
    network.block(urlOf(0), urlOf(1))
    network.block(urlOf(1), urlOf(0))
    await clock.advance(5_000)
    const sent = here.send(bob, 1)
    await clock.advance(100)
    expect(sent.status).toBe(OutcomeStatus.DELIVERED)
    expect(there.messages()).toEqual([1])
  })

  test('is delivered by a server that started again, empty, before the snapshot with its sender is there', async () => {
    // A page per row and few at once: the snapshot of 200 rows takes half a second.
    realm = await Realm.of(2, { federationPageRows: 1, federationCreditFrames: 2 })
    for (let peer = 0; peer < 200; peer++) await new PeerAt(realm, 0, await generateSigningKey(), order(1)).join()
    const here = await new PeerAt(realm, 0, alice, order(1)).listen().join()
    await realm.clock.advance(5_000)
    realm.network.crash(urlOf(1))
    realm.start(1)
    const there = await new PeerAt(realm, 1, bob, order(1)).listen().join()
    await realm.clock.advance(200)
    const sent = here.send(bob, 1)
    await realm.clock.advance(25)
    expect(
      realm.servers[1]?.backplane.members.sessionOf(byteKey(keyBytes(1)), byteKey(alice.publicKey)),
    ).toBeUndefined()
    expect(sent.status).toBe(OutcomeStatus.DELIVERED)
    expect(there.messages()).toEqual([1])
  })

  test('is RECIPIENT_TIMEOUT after four seconds when nobody answers and it may not be held', async () => {
    const { here, clock, network } = await setUp(2)
    network.block(urlOf(0), urlOf(1))
    network.block(urlOf(1), urlOf(0))
    const sent = here.send(bob, 1)
    await clock.advance(4_000)
    expect(sent.outcome?.error).toMatchObject({ reason: ErrorReason.RECIPIENT_TIMEOUT, retryable: true })
    expect(realm.underWay).toBe(0)
  })
})

describe('a message to a peer that moves', () => {
  test('reaches it at its new server, once, when its old one died', async () => {
    const { here, clock, network } = await setUp()
    network.crash(urlOf(1))
    const sent = here.send(bob, 1, 20_000)
    await clock.advance(5_000)
    expect(sent.status).toBe(OutcomeStatus.HELD)
    const moved = await new PeerAt(realm, 2, bob, order(1, 2)).listen().join()
    await clock.advance(3_000)
    expect(moved.messages()).toEqual([1])
    await clock.advance(20_000)
    expect(moved.messages()).toEqual([])
    expect(here.departures()).toBe(0)
  })

  test('follows it from the queue of its old session, which ends at once when a newer process is elsewhere', async () => {
    const { here, there, clock } = await setUp()
    here.send(bob, 1, 20_000)
    await clock.advance(100)
    const moved = await new PeerAt(realm, 2, bob, order(2)).listen().join()
    await clock.advance(100)
    expect(there.session.end).toMatchObject({ kind: 'moved', order: order(2) })
    expect(moved.messages()).toEqual([1])
    expect(here.departures()).toBe(0)
  })

  test('waits at its old server when its lease ran out, and follows it', async () => {
    const { here, there, clock } = await setUp()
    here.send(bob, 1, 30_000)
    await clock.advance(20_000)
    expect(there.session.end).toMatchObject({ kind: 'expired' })
    const moved = await new PeerAt(realm, 2, bob, order(1, 2)).listen().join()
    await clock.advance(100)
    expect(moved.messages()).toEqual([1])
  })

  test('comes back with it, once', async () => {
    const { here, clock } = await setUp()
    here.send(bob, 1, 30_000)
    await clock.advance(100)
    await new PeerAt(realm, 2, bob, order(2)).join()
    await clock.advance(100)
    const back = await new PeerAt(realm, 1, bob, order(3)).listen().join()
    await clock.advance(100)
    expect(back.messages()).toEqual([1])
    await clock.advance(30_000)
    expect(back.messages()).toEqual([])
  })

  test('goes to the newest of several sessions of one process, and each of them stays', async () => {
    const { here, there, clock } = await setUp()
    there.listen()
    const second = await new PeerAt(realm, 2, bob, order(1, 2)).listen().join()
    await clock.advance(100)
    here.send(bob, 1)
    await clock.advance(100)
    expect(second.messages()).toEqual([1])
    second.hangUp()
    await clock.advance(16_000)
    here.send(bob, 2)
    await clock.advance(100)
    expect(there.messages()).toEqual([2])
    expect(here.departures()).toBe(0)
  })

  test('is repeated under its id by a sender that moved, and delivered once', async () => {
    const { here, there, clock } = await setUp()
    there.listen()
    here.send(bob, 1)
    await clock.advance(100)
    const moved = await new PeerAt(realm, 1, alice, order(2)).listen().join()
    expect(moved.send(bob, 1).outcome?.error?.reason).toBe(ErrorReason.DUPLICATE)
    const further = await new PeerAt(realm, 2, alice, order(3)).listen().join()
    const again = further.send(bob, 1)
    await clock.advance(500)
    expect(again.status).toBe(OutcomeStatus.DELIVERED)
    expect(there.messages()).toEqual([1])
  })
})
