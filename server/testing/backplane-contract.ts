import { ErrorReason, seededRandom, VirtualClock } from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import type { Backplane } from '../backplane/backplane.ts'
import { byteKey } from '../byte-key.ts'
import type { TopicChange } from '../directory/directory.ts'
import { MemoryDirectory } from '../directory/memory-directory.ts'
import { keyBytes, sessionBytes, type TestRecordFields, verifiedRecord } from './records.ts'

const TOPIC = byteKey(keyBytes(1))
const PEER = byteKey(keyBytes(1))

/** The guarantees of `Backplane` that hold for one server, whether it has others or not. */
export function backplaneContract(
  name: string,
  create: (directory: MemoryDirectory, clock: VirtualClock) => Backplane,
): void {
  function setUp() {
    const clock = new VirtualClock()
    const startWallMs = clock.wallMs()
    const random = seededRandom(1)
    const directory = new MemoryDirectory({ maxMembersPerTopic: 100, clockSkewMs: 120_000, random, startWallMs })
    const backplane = create(directory, clock)
    const changes: TopicChange[] = []
    const unwatch = backplane.watch((change) => changes.push(change))
    const record = (fields: TestRecordFields = {}) => verifiedRecord({ issuedAtMs: clock.wallMs(), ...fields })
    return { clock, backplane, changes, unwatch, record }
  }

  describe(name, () => {
    test('shows its own writes, and calls the watchers, before it returns', () => {
      const { backplane, changes, record } = setUp()
      const { revision } = backplane.announce(record())
      expect(changes).toMatchObject([{ kind: 'joined', revision }])
      expect(backplane.members.get(TOPIC, PEER)).toBeDefined()
      backplane.withdraw(TOPIC, PEER, sessionBytes(1), DepartureReason.EXPIRED)
      expect(changes.at(-1)).toMatchObject({ kind: 'left', reason: DepartureReason.EXPIRED })
      expect(backplane.members.memberCount(TOPIC)).toBe(0)
    })

    test('tells every change once, in the order of the revisions, whoever watches', async () => {
      const { backplane, changes, clock, record } = setUp()
      const second: TopicChange[] = []
      backplane.watch((change) => second.push(change))
      for (let peer = 1; peer <= 5; peer++) backplane.announce(record({ peer, ttlMs: peer * 1_000 }))
      backplane.announce(record({ peer: 1, ttlMs: 1_000 }))
      backplane.leave(record({ peer: 3, seq: 2, kind: MembershipKind.LEAVE }))
      await clock.advance(10_000)
      const revisions = changes.map(({ revision }) => revision)
      expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => (a < b ? -1 : 1)))
      expect(changes.filter(({ kind }) => kind === 'left')).toHaveLength(5)
      expect(second).toEqual(changes)
    })

    test('expires records by itself, each at its time', async () => {
      const { backplane, changes, clock, record } = setUp()
      backplane.announce(record({ peer: 1, ttlMs: 5_000 }))
      backplane.announce(record({ peer: 2, ttlMs: 2_000 }))
      await clock.advance(1_999)
      expect(changes).toHaveLength(2)
      await clock.advance(1)
      expect(changes.at(-1)).toMatchObject({ kind: 'left', peer: byteKey(keyBytes(2)) })
      await clock.advance(3_000)
      expect(changes.at(-1)).toMatchObject({ kind: 'left', peer: byteKey(keyBytes(1)) })
    })

    test('publishes the departure that an equivocation causes, beside the refusal', () => {
      const { backplane, changes, record } = setUp()
      backplane.announce(record())
      const { refusal } = backplane.announce(record({ state: 7 }))
      expect(refusal?.reason).toBe(ErrorReason.RECORD_EQUIVOCATION)
      expect(changes.at(-1)?.kind).toBe('left')
    })

    test('tells the session of its own members, and of nobody else', () => {
      const { backplane, record } = setUp()
      expect(backplane.ownSessionOf(TOPIC, PEER)).toBeUndefined()
      backplane.announce(record({ session: 7 }))
      expect(backplane.ownSessionOf(TOPIC, PEER)).toBe(byteKey(sessionBytes(7)))
      backplane.withdraw(TOPIC, PEER, sessionBytes(7), DepartureReason.EXPIRED)
      expect(backplane.ownSessionOf(TOPIC, PEER)).toBeUndefined()
    })

    test('knows nobody to send to when the recipient is nowhere', () => {
      const { backplane } = setUp()
      const id = { id: sessionBytes(1), from: PEER, bytes: new Uint8Array(1) }
      const to = { topicKey: TOPIC, to: PEER, toSession: '' }
      const nobody = (): void => {}
      expect(backplane.send({ ...id, ...to, ttlMs: 0, payloadBytes: 1 }, nobody)).toBe(false)
    })

    test('tells nothing more to those who stopped watching, nor after close, and leaves no timer', async () => {
      const { backplane, changes, unwatch, clock, record } = setUp()
      unwatch()
      backplane.announce(record())
      expect(changes).toEqual([])
      await backplane.close()
      await backplane.close()
      expect(clock.pending).toBe(0)
    })
  })
}
