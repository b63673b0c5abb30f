import { ErrorReason, MeshError, toHex, type VerifiedRecord } from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  type Departure,
  DepartureReason,
  type JoinResponse,
  type MembersEvent,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { type FakeRecordFields, fakeRecord } from '../testing/record.fixture.ts'
import { type MemberChange, MembershipView } from './membership-view.ts'

const OWN = 200
let view: MembershipView
let rejected: string[]
let records: Map<SignedRecord, VerifiedRecord>

beforeEach(() => {
  rejected = []
  records = new Map()
  view = new MembershipView({
    ownKey: new Uint8Array(32).fill(OWN),
    verify: async (signed, kind) => {
      const verified = records.get(signed)
      if (!verified || verified.record.kind !== kind) throw new MeshError(ErrorReason.SIGNATURE_INVALID, 'forged')
      return verified
    },
    onRejected: (error) => rejected.push(error.reasonName),
  })
})

/** A record that verifies. */
function signed(peer: number, fields: FakeRecordFields = {}): SignedRecord {
  const verified = fakeRecord({ peer, ...fields })
  records.set(verified.signed, verified)
  return verified.signed
}

function answer(revision: number, members: SignedRecord[], memberCount = members.length + 1): JoinResponse {
  return { $typeName: 'mesh.signal.v1.JoinResponse', revision: BigInt(revision), members, memberCount }
}

function event(revision: number, change: Partial<Pick<MembersEvent, 'joined' | 'updated' | 'left'>>): MembersEvent {
  const none = { joined: [], updated: [], left: [] }
  const topic = new Uint8Array(32)
  return { $typeName: 'mesh.signal.v1.MembersEvent', topic, revision: BigInt(revision), ...none, ...change }
}

function departure(peer: number, session = 1, record?: SignedRecord): Departure {
  return {
    $typeName: 'mesh.signal.v1.Departure',
    peerKey: new Uint8Array(32).fill(peer),
    sessionId: new Uint8Array(16).fill(session),
    reason: record ? DepartureReason.LEFT : DepartureReason.EXPIRED,
    ...(record && { record }),
  }
}

/** "joined 1", "left 2 said" ... */
function shown(changes: readonly MemberChange[]): string[] {
  return changes.map((change) => {
    const peer = change.record.record.peerKey[0]
    return change.kind === 'left' && change.leave ? `left ${peer} said` : `${change.kind} ${peer}`
  })
}

function members(): number[] {
  return [...view.members.values()].map(({ record }) => record.peerKey[0] as number).sort((a, b) => a - b)
}

describe('membership view', () => {
  it('takes the members of an answer, without this peer itself', async () => {
    const changes = await view.applyJoin(answer(1, [signed(1), signed(OWN), signed(2)]))
    expect(shown(changes)).toEqual(['joined 1', 'joined 2'])
    expect(members()).toEqual([1, 2])
  })

  it('believes no record that does not verify, and reports it', async () => {
    const forged = fakeRecord({ peer: 1 }).signed
    expect(await view.applyJoin(answer(1, [forged, signed(2)]))).toHaveLength(1)
    expect(await view.applyEvent(event(2, { joined: [forged] }))).toEqual([])
    expect(rejected).toEqual(['SIGNATURE_INVALID', 'SIGNATURE_INVALID'])
    expect(members()).toEqual([2])
  })

  it.each([
    ['a higher seq', 5, 6, ['updated 1'], 6n],
    ['the same record', 5, 5, [], 5n],
    ['a lower seq', 5, 4, [], 5n],
  ] as const)('takes from %s what is newer', async (_what, first, second, expected, seq) => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: first })] }))
    const changes = await view.applyEvent(event(2, { updated: [signed(1, { seq: second })] }))
    expect(shown(changes)).toEqual(expected)
    expect([...view.members.values()][0]?.record.seq).toBe(seq)
    expect(rejected).toEqual([])
  })

  it('reports a peer that signed two records with one seq, and keeps the first', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: 5, state: Uint8Array.of(1) })] }))
    const changes = await view.applyEvent(event(2, { updated: [signed(1, { seq: 5, state: Uint8Array.of(2) })] }))
    expect(changes).toEqual([])
    expect(rejected).toEqual(['RECORD_EQUIVOCATION'])
    expect([...view.members.values()][0]?.record.state).toEqual(Uint8Array.of(1))
  })

  it('takes a member out when its own LEAVE says so, and no older record brings it back', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: 5 })] }))
    const leave = signed(1, { seq: 6, kind: MembershipKind.LEAVE })
    expect(shown(await view.applyEvent(event(2, { left: [departure(1, 1, leave)] })))).toEqual(['left 1 said'])
    expect(
      shown(await view.applyEvent(event(3, { joined: [signed(1, { seq: 6, state: Uint8Array.of(1) })] }))),
    ).toEqual([])
    expect(shown(await view.applyJoin(answer(4, [signed(1, { seq: 5 })])))).toEqual([])
    expect(shown(await view.applyEvent(event(5, { joined: [signed(1, { seq: 7 })] })))).toEqual(['joined 1'])
  })

  it('takes a member out without its word, and takes the same record back', async () => {
    const record = signed(1, { seq: 5 })
    await view.applyEvent(event(1, { joined: [record] }))
    expect(shown(await view.applyEvent(event(2, { left: [departure(1)] })))).toEqual(['left 1'])
    expect(shown(await view.applyEvent(event(3, { joined: [record] })))).toEqual(['joined 1'])
  })

  it('still knows a LEAVE after a departure without one', async () => {
    const old = signed(1, { seq: 5 })
    await view.applyEvent(event(1, { joined: [old] }))
    await view.applyEvent(event(2, { left: [departure(1, 1, signed(1, { seq: 6, kind: MembershipKind.LEAVE }))] }))
    await view.applyEvent(event(3, { left: [departure(1)] }))
    expect(await view.applyEvent(event(4, { joined: [old] }))).toEqual([])
  })

  it('keeps a member whose LEAVE is older than its record, or whose departure names another session', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: 5, session: 2 })] }))
    const leave = signed(1, { seq: 4, session: 2, kind: MembershipKind.LEAVE })
    expect(await view.applyEvent(event(2, { left: [departure(1, 2, leave)] }))).toEqual([])
    expect(await view.applyEvent(event(3, { left: [departure(1, 1)] }))).toEqual([])
    expect(members()).toEqual([1])
  })

  it('does not take somebody else’s LEAVE for a word of the peer', async () => {
    await view.applyEvent(event(1, { joined: [signed(1), signed(2)] }))
    const leave = signed(2, { seq: 9, kind: MembershipKind.LEAVE })
    expect(shown(await view.applyEvent(event(2, { left: [departure(1, 1, leave)] })))).toEqual(['left 1'])
    expect(shown(await view.applyEvent(event(3, { joined: [signed(1, { seq: 2 })] })))).toEqual(['joined 1'])
  })

  it('handles the departure of one session and the record of the next in one event', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: 5 })] }))
    const changes = await view.applyEvent(
      event(2, { left: [departure(1)], joined: [signed(1, { seq: 6, session: 2 })] }),
    )
    expect(shown(changes)).toEqual(['left 1', 'joined 1'])
  })

  it('misses who is not in a complete answer, and nobody in a sample', async () => {
    await view.applyEvent(event(1, { joined: [signed(1), signed(2)] }))
    expect(await view.applyJoin(answer(2, [signed(1)], 100))).toEqual([])
    expect(shown(await view.applyJoin(answer(3, [signed(1)])))).toEqual(['missing 2'])
    expect(members()).toEqual([1])
  })

  it('misses nobody who joined after the answer was made', async () => {
    await view.applyEvent(event(10, { joined: [signed(1)] }))
    expect(await view.applyJoin(answer(9, []))).toEqual([])
    expect(members()).toEqual([1])
    expect(shown(await view.applyJoin(answer(11, [])))).toEqual(['missing 1'])
  })

  it('takes nobody from an answer who left after it was made', async () => {
    await view.applyEvent(event(10, { left: [departure(1)] }))
    expect(await view.applyJoin(answer(9, [signed(1)]))).toEqual([])
    expect(shown(await view.applyJoin(answer(10, [signed(1)])))).toEqual(['joined 1'])
  })

  it('expires records that ran out without a word', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { expiresAtMs: 100 }), signed(2, { expiresAtMs: 200 })] }))
    expect(view.expire(99)).toEqual([])
    expect(shown(view.expire(100))).toEqual(['left 1'])
    expect(members()).toEqual([2])
  })

  it('forgets a peer that said goodbye on its link until it is heard of again', async () => {
    await view.applyEvent(event(1, { joined: [signed(1, { seq: 5 })] }))
    view.remove(new Uint8Array(32).fill(1))
    expect(members()).toEqual([])
    expect(shown(await view.applyEvent(event(2, { updated: [signed(1, { seq: 6 })] })))).toEqual(['joined 1'])
  })

  it('holds 1,024 members, and updates of those it holds', async () => {
    const many = Array.from({ length: 1_030 }, (_, i) => {
      const verified = fakeRecord({ peer: 1 })
      const peerKey = new Uint8Array(32)
      new DataView(peerKey.buffer).setUint16(0, i + 1)
      records.set(verified.signed, { ...verified, record: { ...verified.record, peerKey } })
      return verified.signed
    })
    const changes = await view.applyJoin(answer(1, many, 5_000))
    expect(changes).toHaveLength(1_024)
    expect(view.members.size).toBe(1_024)
    expect(view.members.has(toHex(new Uint8Array(32).fill(OWN)))).toBe(false)
  })
})
