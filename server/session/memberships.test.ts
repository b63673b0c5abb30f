import type { MeshError } from '@mesh/core'
import { DepartureReason, type Event, NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../byte-key.ts'
import { TestReader, testDomain } from '../testing/domain.ts'
import { keyBytes, verifiedRecord } from '../testing/records.ts'

const TOPIC = byteKey(keyBytes(1))

/** Departure reasons among events, in order. */
function departures(events: Event[]): DepartureReason[] {
  return events.flatMap(({ event }) => (event.case === 'members' ? event.value.left.map(({ reason }) => reason) : []))
}

function setUp(limits = {}) {
  const domain = testDomain(limits)
  const watcher = domain.open(9)
  domain.join(watcher)
  const reader = new TestReader(watcher)
  reader.read()
  return { ...domain, reader }
}

describe('memberships', () => {
  test('a dead stream leaves as EXPIRED after its grace, not before', async () => {
    const { clock, open, join, reader } = setUp()
    const session = open(1)
    join(session)
    const stream = new TestReader(session)
    stream.read()
    reader.read()
    stream.stream.close()
    await clock.advance(14_999)
    expect(departures(reader.read())).toEqual([])
    await clock.advance(1)
    expect(departures(reader.read())).toEqual([DepartureReason.EXPIRED])
  })

  test('a closed session leaves all its topics as LEFT at once', () => {
    const { open, join, sessions, directory, reader } = setUp()
    const session = open(1)
    join(session)
    join(session, { topic: 2 })
    reader.read()
    sessions.end(session, { kind: 'closed' })
    expect(departures(reader.read())).toEqual([DepartureReason.LEFT])
    expect(directory.totals.members).toBe(1)
  })

  test('a topic the newer session joins in time is updated, one it does not join leaves as TAKEN_OVER', async () => {
    const { clock, open, join, directory, reader } = setUp()
    const older = open(1, 1n)
    join(older)
    join(older, { topic: 2 })
    reader.read()
    const newer = open(1, 2n)
    join(newer)
    expect(reader.kinds()).toContain('members')
    await clock.advance(5_000)
    expect(departures(reader.read())).toEqual([])
    expect(directory.totals.members).toBe(2)
    open(1, 3n)
    await clock.advance(4_999)
    expect(departures(reader.read())).toEqual([])
    await clock.advance(1)
    expect(departures(reader.read())).toEqual([DepartureReason.TAKEN_OVER])
  })

  test('a record that runs out ends the membership, for the others and for its owner', async () => {
    const { clock, open, join, reader } = setUp()
    const session = open(1)
    const own = new TestReader(session)
    join(session, { ttlMs: 5_000 })
    own.read()
    reader.read()
    await clock.advance(5_000)
    expect(departures(reader.read())).toEqual([DepartureReason.EXPIRED])
    expect(departures(own.read())).toEqual([DepartureReason.EXPIRED])
    expect(session.topics.size).toBe(0)
  })

  test('a Join returns a sample of the members, and joining again the same ones', () => {
    const { open, join } = setUp()
    for (let peer = 20; peer < 60; peer++) join(open(peer))
    const session = open(1)
    const peersOf = (members: { record: Uint8Array }[]): string[] => members.map(({ record }) => String(record)).sort()
    const first = join(session, {}, 8)
    expect(first).toMatchObject({ memberCount: 42 })
    expect(first.members).toHaveLength(8)
    const again = join(session, {}, 8)
    expect(peersOf(again.members)).toEqual(peersOf(first.members))
    expect(join(session, {}, 12).members).toHaveLength(12)
  })

  test('a member of a large topic hears of its view only', () => {
    const { open, join, sessions } = testDomain({ maxMembersPerJoin: 4 })
    const members = Array.from({ length: 40 }, (_, index) => open(index + 1))
    for (const member of members) join(member)
    const readers = members.slice(0, 39).map((member) => new TestReader(member))
    for (const reader of readers) reader.read()
    sessions.end(members[39] as (typeof members)[number], { kind: 'closed' })
    const told = readers.filter((reader) => departures(reader.read()).length > 0)
    expect(told.length).toBeLessThanOrEqual(8)
  })

  test('bounds the topics of a session', () => {
    const { open, join } = testDomain({ maxTopicsPerSession: 2 })
    const session = open(1)
    join(session, { topic: 1 })
    join(session, { topic: 2 })
    join(session, { topic: 2 })
    expect(() => join(session, { topic: 3 })).toThrowError(
      expect.objectContaining({ limit: 'max_topics_per_session', value: 2n }) as MeshError,
    )
  })

  test('warns of the bound of topics while three quarters of them are used, once somebody listens', () => {
    const { open, join } = testDomain({ maxTopicsPerSession: 4 })
    const session = open(1)
    for (const topic of [1, 2, 3]) join(session, { topic })
    const reader = new TestReader(session)
    const warnings = () =>
      reader.read().filter(({ event }) => event.case === 'notice' && event.value.kind === NoticeKind.LIMIT_WARNING)
    expect(warnings()).toEqual([])
    join(session, { topic: 4 })
    const detail = { limit: 'max_topics_per_session', limitValue: 4n, value: 4n }
    expect(warnings()).toMatchObject([{ event: { value: { detail } } }])
    join(session, { topic: 4 })
    expect(warnings()).toEqual([])
  })

  test('a LEAVE frees the topic and is passed on with its signature', () => {
    const { open, join, memberships, reader } = setUp()
    const session = open(1)
    join(session)
    reader.read()
    const leave = verifiedRecord({ kind: 2, peer: 1, seq: 1_000 })
    memberships.leave(session, leave)
    expect(session.topics.size).toBe(0)
    const [event] = reader.read()
    expect(event?.event).toMatchObject({ value: { left: [{ record: { signature: leave.signed.signature } }] } })
  })

  describe('of a peer that is at another server too', () => {
    /** The order of the n-th session of a process. */
    const order = (process: number, n = 1): bigint => (BigInt(process) << 20n) + BigInt(n)

    function setUpMoving() {
      const domain = setUp()
      const session = domain.open(1, order(1))
      domain.join(session)
      const stream = new TestReader(session).stream
      const show = (topic: number, newer: bigint) =>
        domain.elsewhere.show(verifiedRecord({ peer: 1, topic, session: 77, order: newer, seq: 9_999 }))
      return { ...domain, session, stream, show }
    }

    test('end at once when nobody reads them and a newer process is there', () => {
      const { session, stream, show, directory, reader } = setUpMoving()
      stream.close()
      show(1, order(2))
      expect(session.end).toEqual({ kind: 'moved', order: order(2) })
      expect(directory.memberCount(TOPIC)).toBe(1)
      expect(departures(reader.read())).toEqual([])
    })

    test('keep what the peer has not joined there yet, for as long as a takeover may take', async () => {
      const { session, stream, join, show, directory, clock } = setUpMoving()
      join(session, { topic: 2 })
      stream.close()
      show(1, order(2))
      expect(directory.totals.members).toBe(2)
      await clock.advance(5_000)
      expect(directory.totals.members).toBe(1)
    })

    test('stay while somebody reads them, and end when the last stream does', () => {
      const { session, stream, show } = setUpMoving()
      show(1, order(2))
      expect(session.end).toBeUndefined()
      const second = new TestReader(session).stream
      stream.close()
      expect(session.end).toBeUndefined()
      second.close()
      expect(session.end).toMatchObject({ kind: 'moved' })
    })

    test('are told when a record of theirs runs out, although the peer stays a member elsewhere', async () => {
      const { session, join, show, directory, clock, reader } = setUpMoving()
      const own = new TestReader(session)
      join(session, { ttlMs: 5_000 })
      show(1, order(1, 2))
      reader.read()
      own.read()
      await clock.advance(5_000)
      expect(directory.get(TOPIC, session.peer)).toBeUndefined()
      expect(session.topics.size).toBe(0)
      expect(departures(own.read())).toContain(DepartureReason.EXPIRED)
      expect(departures(reader.read())).not.toContain(DepartureReason.EXPIRED)
    })

    test('stay when the other session is one of the same process, or an older one', () => {
      const { session, stream, show } = setUpMoving()
      stream.close()
      show(1, order(1, 2))
      show(1, order(0))
      expect(session.end).toBeUndefined()
    })
  })
})
