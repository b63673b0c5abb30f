import { ErrorReason, type Random, seededRandom } from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../byte-key.ts'
import type { Directory, TopicChange } from '../directory/directory.ts'
import { keyBytes, sessionBytes, type TestRecordFields, verifiedRecord } from './records.ts'

const TOPIC = byteKey(keyBytes(1))
const PEER = byteKey(keyBytes(1))
const LEAVE = MembershipKind.LEAVE

/** What an implementation is made with. */
export interface DirectorySetUp {
  readonly maxMembersPerTopic: number
  readonly clockSkewMs: number
  readonly random: Random
  /** First revision, in ms; see guarantee 5. */
  readonly startWallMs: number
}

/** A directory with both of its clocks in hand. */
function inHand(create: (setUp: DirectorySetUp) => Directory, maxMembersPerTopic: number) {
  const random = seededRandom(7)
  const directory = create({ maxMembersPerTopic, clockSkewMs: 120_000, random, startWallMs: 5 })
  const now = { monotonicMs: 1_000, wallMs: 0 }
  return {
    directory,
    now,
    join: (fields?: TestRecordFields) => directory.announce(verifiedRecord(fields), now),
    leave: (fields?: TestRecordFields) => directory.leave(verifiedRecord({ kind: LEAVE, ...fields }), now),
    pass: (ms: number) => {
      now.monotonicMs += ms
      now.wallMs += ms
      return directory.expire(now)
    },
  }
}

/** The guarantees of `Directory`, held against one implementation. */
export function directoryContract(name: string, create: (setUp: DirectorySetUp) => Directory): void {
  const atTime = (maxMembersPerTopic = 100) => inHand(create, maxMembersPerTopic)

  describe(name, () => {
    test('announces a first record as joined, a newer one as updated, the same again as nothing', () => {
      const { join, directory } = atTime()
      const first = join()
      expect(first.change).toMatchObject({ kind: 'joined', topicKey: TOPIC, peer: PEER, revision: first.revision })
      const second = join({ seq: 2 })
      expect(second.change).toMatchObject({ kind: 'updated' })
      expect(second.revision).toBeGreaterThan(first.revision)
      expect(join({ seq: 2 })).toEqual({ revision: second.revision, change: undefined, refusal: undefined })
      expect(directory.get(TOPIC, PEER)?.record.seq).toBe(2n)
    })

    test('refuses a stale seq and says which one it holds', () => {
      const { join } = atTime()
      join({ seq: 5 })
      const { refusal, change } = join({ seq: 4 })
      expect(refusal).toMatchObject({ reason: ErrorReason.RECORD_STALE, value: 5n })
      expect(change).toBeUndefined()
    })

    test('withdraws a peer that equivocates and serves neither record, until a higher seq comes', () => {
      const { join, directory } = atTime()
      join({ seq: 3 })
      const { refusal, change } = join({ seq: 3, state: 9 })
      expect(refusal).toMatchObject({ reason: ErrorReason.RECORD_EQUIVOCATION, value: 3n })
      expect(change).toMatchObject({ kind: 'left', reason: DepartureReason.EXPIRED })
      expect(directory.get(TOPIC, PEER)).toBeUndefined()
      expect(join({ seq: 3 }).refusal).toMatchObject({ reason: ErrorReason.RECORD_STALE })
      expect(join({ seq: 4 }).change).toMatchObject({ kind: 'joined' })
    })

    test('a LEAVE that contradicts the JOIN of the same seq is equivocation', () => {
      const { join, leave } = atTime()
      join({ seq: 3 })
      expect(leave({ seq: 3 }).refusal).toMatchObject({ reason: ErrorReason.RECORD_EQUIVOCATION })
    })

    test('passes a signed LEAVE on, and a repeated one is accepted without effect', () => {
      const { join, leave, directory } = atTime()
      join()
      const left = leave({ seq: 2 })
      expect(left.change).toMatchObject({ kind: 'left', reason: DepartureReason.LEFT })
      expect(left.change?.kind === 'left' && left.change.record).toBeDefined()
      expect(leave({ seq: 2 })).toMatchObject({ change: undefined, refusal: undefined })
      expect(directory.memberCount(TOPIC)).toBe(0)
      expect(directory.departedAtMs(TOPIC, PEER)).toBe(1_000)
    })

    test('refuses a JOIN replayed after its LEAVE for as long as a copy could be valid', () => {
      const { join, leave, pass, directory } = atTime()
      join({ seq: 1 })
      leave({ seq: 2, ttlMs: 1_000 })
      pass(900_000 + 120_000 - 1)
      expect(join({ seq: 1 }).refusal).toMatchObject({ reason: ErrorReason.RECORD_STALE, value: 2n })
      pass(1)
      expect(directory.totals).toEqual({ topics: 0, members: 0, tombstones: 0 })
    })

    test('refuses a LEAVE that is older than the membership', () => {
      const { join, leave, directory } = atTime()
      join({ seq: 5 })
      expect(leave({ seq: 4 }).refusal).toMatchObject({ reason: ErrorReason.RECORD_STALE, value: 5n })
      expect(directory.memberCount(TOPIC)).toBe(1)
    })

    test('expires a record when its ttl has passed on the monotonic clock, though the wall clock stands still', () => {
      const { join, now, directory } = atTime()
      join({ ttlMs: 10_000 })
      expect(directory.nextExpiryMs).toBe(11_000)
      now.monotonicMs = 10_999
      expect(directory.expire(now)).toEqual([])
      now.monotonicMs = 11_000
      expect(directory.expire(now)).toMatchObject([{ kind: 'left', reason: DepartureReason.EXPIRED }])
    })

    test('a wall clock that jumps ahead expires nobody', () => {
      const { join, now, directory } = atTime()
      join({ ttlMs: 10_000 })
      now.wallMs += 86_400_000
      expect(directory.expire(now)).toEqual([])
    })

    test('a newer record extends the membership', () => {
      const { join, pass } = atTime()
      join({ ttlMs: 10_000 })
      expect(pass(6_000)).toEqual([])
      join({ seq: 2, ttlMs: 10_000, issuedAtMs: 6_000 })
      expect(pass(9_999)).toEqual([])
      expect(pass(1)).toHaveLength(1)
    })

    test('withdraws a membership only for the session that holds it', () => {
      const { join, directory, now } = atTime()
      join({ session: 1 })
      join({ session: 2, seq: 2 })
      const { TAKEN_OVER } = DepartureReason
      expect(directory.withdraw(TOPIC, PEER, sessionBytes(1), TAKEN_OVER, now)).toBeUndefined()
      expect(directory.withdraw(TOPIC, PEER, sessionBytes(2), TAKEN_OVER, now)).toMatchObject({ reason: TAKEN_OVER })
      expect(directory.withdraw(TOPIC, PEER, sessionBytes(2), TAKEN_OVER, now)).toBeUndefined()
    })

    test('bounds the members and the tombstones of one topic', () => {
      const { join, leave, directory } = atTime(3)
      for (const peer of [1, 2, 3]) join({ peer })
      const { refusal } = join({ peer: 4 })
      expect(refusal).toMatchObject({ limit: 'max_members_per_topic', limitValue: 3n, value: 3n, retryable: true })
      for (const peer of [1, 2, 3]) leave({ peer, seq: 2 })
      join({ peer: 4 })
      leave({ peer: 4, seq: 2 })
      expect(directory.totals).toMatchObject({ members: 0, tombstones: 3 })
    })

    test('samples uniformly, without the one who asks and without doubles', () => {
      const { join, directory } = atTime()
      for (let peer = 1; peer <= 20; peer++) join({ peer })
      const seen = new Map<number, number>()
      for (let round = 0; round < 2_000; round++) {
        const sample = directory.sample(TOPIC, 5, PEER).map(({ record }) => record.peerKey[0] as number)
        expect(new Set(sample).size).toBe(5)
        for (const peer of sample) seen.set(peer, (seen.get(peer) ?? 0) + 1)
      }
      expect(seen.has(1)).toBe(false)
      expect(seen.size).toBe(19)
      // 2,000 * 5 / 19 = 526 each; five standard deviations are about 100.
      for (const count of seen.values()) expect(Math.abs(count - 526)).toBeLessThan(100)
    })

    test('samples everybody when there are few, also after departures shuffled the order', () => {
      const { join, leave, directory } = atTime()
      for (let peer = 1; peer <= 6; peer++) join({ peer })
      leave({ peer: 2, seq: 2 })
      const sample = directory.sample(TOPIC, 64, PEER).map(({ record }) => record.peerKey[0])
      expect(new Set(sample)).toEqual(new Set([3, 4, 5, 6]))
    })

    test('pages through all members', () => {
      const { join, directory } = atTime()
      for (let peer = 1; peer <= 5; peer++) join({ peer })
      const first = directory.page(TOPIC, 0, 3)
      const second = directory.page(TOPIC, first.nextOffset as number, 3)
      expect([first.records.length, second.records.length]).toEqual([3, 2])
      expect(second.nextOffset).toBeUndefined()
      expect(directory.page(TOPIC, 1_000, 3)).toEqual({ records: [], nextOffset: undefined })
    })

    test('revisions start above those of any earlier process', () => {
      const { join } = atTime()
      expect(join().revision).toBe(5n * 1_024n + 1n)
    })

    test('joined and left alternate and fold to the members, whatever happens', () => {
      const random = seededRandom(42)
      const { directory, now, pass } = atTime(8)
      const view = new Set<string>()
      let lastRevision = 0n
      const apply = (change: TopicChange | undefined): void => {
        if (change === undefined) return
        expect(change.revision).toBeGreaterThan(lastRevision)
        lastRevision = change.revision
        expect(view.has(change.peer)).toBe(change.kind !== 'joined')
        if (change.kind === 'left') view.delete(change.peer)
        else view.add(change.peer)
      }
      for (let step = 0; step < 5_000; step++) {
        const pick = (count: number): number => 1 + Math.floor(random.uniform() * count)
        const record = { peer: pick(12), seq: pick(40), session: pick(3), state: pick(2), ttlMs: 1_000 * pick(60) }
        const issuedAtMs = now.wallMs
        const action = random.uniform()
        if (action < 0.6) apply(directory.announce(verifiedRecord({ ...record, issuedAtMs }), now).change)
        else if (action < 0.8)
          apply(directory.leave(verifiedRecord({ ...record, kind: LEAVE, issuedAtMs }), now).change)
        else if (action < 0.9) {
          const peer = byteKey(keyBytes(record.peer))
          apply(directory.withdraw(TOPIC, peer, sessionBytes(record.session), DepartureReason.EXPIRED, now))
        } else for (const change of pass(5_000)) apply(change)
        expect(directory.memberCount(TOPIC)).toBe(view.size)
      }
      for (const change of pass(10_000_000)) apply(change)
      expect(view.size).toBe(0)
      expect(directory.totals).toEqual({ topics: 0, members: 0, tombstones: 0 })
    })
  })
}
