import { toHex, type VerifiedRecord } from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason, type JoinResponse, type MembersEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { FAKE_TOPIC, type FakeRecordFields, fakeRecord } from '../testing/record.fixture.ts'
import { type MemberChange, MembershipView } from './membership-view.ts'
import { MergedView } from './merged-view.ts'

/** Sessions of one process at two servers, and one of its next process. */
const AT_A = { session: 1, order: (1n << 20n) + 1n }
const AT_B = { session: 2, order: (1n << 20n) + 2n }
const LATER = { session: 3, order: (2n << 20n) + 1n }

let merged: MergedView
let a: Server
let b: Server
let records: Map<SignedRecord, VerifiedRecord>

/** One server's word, and what it changes. */
class Server {
  readonly view: MembershipView
  #revision = 0n

  constructor() {
    this.view = new MembershipView({
      ownKey: new Uint8Array(32),
      verify: async (signed) => records.get(signed) as VerifiedRecord,
      onRejected: (error) => {
        throw error
      },
    })
    merged.add(this.view)
  }

  async shows(kind: 'joined' | 'updated', fields: FakeRecordFields): Promise<string[]> {
    return this.#event({ [kind]: [record(fields)] })
  }

  /** `leave`: the peer's own word, with that seq. */
  async departs(fields: FakeRecordFields, leave?: number): Promise<string[]> {
    const { peerKey, sessionId } = fakeRecord(fields).record
    const said = leave === undefined ? undefined : record({ ...fields, seq: leave, kind: MembershipKind.LEAVE })
    return this.#event({
      left: [
        {
          $typeName: 'mesh.signal.v1.Departure',
          peerKey,
          sessionId,
          reason: DepartureReason.LEFT,
          ...(said && { record: said }),
        },
      ],
    })
  }

  async answers(...members: FakeRecordFields[]): Promise<string[]> {
    const response: JoinResponse = {
      $typeName: 'mesh.signal.v1.JoinResponse',
      revision: ++this.#revision,
      members: members.map(record),
      memberCount: members.length + 1,
    }
    return shown(merged.merge(await this.view.applyJoin(response)))
  }

  async #event(change: Partial<MembersEvent>): Promise<string[]> {
    const none = { joined: [], updated: [], left: [] }
    const event: MembersEvent = {
      $typeName: 'mesh.signal.v1.MembersEvent',
      topic: FAKE_TOPIC,
      revision: ++this.#revision,
      ...none,
      ...change,
    }
    return shown(merged.merge(await this.view.applyEvent(event)))
  }
}

function record(fields: FakeRecordFields): SignedRecord {
  const verified = fakeRecord(fields)
  records.set(verified.signed, verified)
  return verified.signed
}

/** "joined 5", by the seq of the record a change carries. */
function shown(changes: readonly MemberChange[]): string[] {
  return changes.map(({ kind, record: { record } }) => `${kind} ${record.seq}`)
}

/** Session by which the peer is to be reached. */
function reachedBy(): number | undefined {
  return merged.members.get(toHex(new Uint8Array(32).fill(1)))?.record.sessionId[0]
}

beforeEach(() => {
  records = new Map()
  merged = new MergedView()
  a = new Server()
  b = new Server()
})

describe('merged view', () => {
  it('has a member once, however many servers list it, reached by the session it opened last', async () => {
    expect(await a.shows('joined', { ...AT_A, seq: 1 })).toEqual(['joined 1'])
    expect(await b.shows('joined', { ...AT_B, seq: 2 })).toEqual(['updated 2'])
    expect([merged.members.size, reachedBy()]).toEqual([1, AT_B.session])
    expect(await a.shows('updated', { ...AT_A, seq: 3 })).toEqual(['updated 3'])
    expect(reachedBy()).toBe(AT_B.session)
  })

  it('loses a member only when it is gone from every server', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    expect(await b.departs(AT_B)).toEqual(['updated 1'])
    expect(reachedBy()).toBe(AT_A.session)
    expect(await a.departs(AT_A)).toEqual(['left 1'])
    expect(merged.members.size).toBe(0)
  })

  it('loses a member at once that says itself that it left, whatever a server out of reach has said', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    expect(await b.departs(AT_B, 3)).toEqual(['left 2'])
    expect(await a.shows('updated', { ...AT_A, seq: 1 })).toEqual([])
  })

  it('keeps a member that left one server for another, and a later life of one that left', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    expect(await a.departs(AT_A, 3)).toEqual([])
    expect(reachedBy()).toBe(AT_B.session)
    await b.shows('updated', { ...LATER, seq: 4 })
    expect(await a.shows('joined', { ...AT_A, seq: 5 })).toEqual(['updated 5'])
    expect(reachedBy()).toBe(LATER.session)
  })

  it('misses a member only when no other server lists it', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    expect(await a.answers()).toEqual([])
    expect(await b.answers()).toEqual(['missing 2'])
    expect(await b.answers({ ...AT_B, seq: 2 })).toEqual(['joined 2'])
  })

  it('gives up what only a server said that has no part any more', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    await b.shows('joined', { peer: 2, seq: 1 })
    expect(shown(merged.remove(b.view))).toEqual(['updated 1', 'left 1'])
    expect([...merged.members.keys()]).toEqual([toHex(new Uint8Array(32).fill(1))])
  })

  it('knows what is listed of a member, the best record first, and forgets it everywhere', async () => {
    await a.shows('joined', { ...AT_A, seq: 1 })
    await b.shows('joined', { ...AT_B, seq: 2 })
    const seqs = () => merged.records(new Uint8Array(32).fill(1)).map(({ record }) => record.seq)
    expect(seqs()).toEqual([2n, 1n])
    merged.forget(new Uint8Array(32).fill(1))
    expect([seqs(), merged.members.size]).toEqual([[], 0])
  })
})

describe('a server that knows of both sessions of a member', () => {
  it('may show one, then the other, whatever their seqs', async () => {
    await a.shows('joined', { ...AT_B, seq: 5 })
    expect(await a.shows('updated', { ...AT_A, seq: 4 })).toEqual(['updated 4'])
    expect(reachedBy()).toBe(AT_A.session)
    expect(await a.departs(AT_A)).toEqual(['left 4'])
  })

  it('cannot show an earlier life of it', async () => {
    await a.shows('joined', { ...LATER, seq: 5 })
    expect(await a.shows('updated', { ...AT_A, seq: 9 })).toEqual([])
    expect(reachedBy()).toBe(LATER.session)
  })
})
