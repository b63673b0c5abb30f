import {
  ErrorReason,
  MeshError,
  openParty,
  type Random,
  type SigningKey,
  signingKeyFromSeed,
  type VirtualClock,
  verifyRecord,
} from '@mesh/core'
import { MembershipKind, type MembershipRecord, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { JoinResponse } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SignalSession } from '../signal/session.ts'
import type { SignalClient } from '../signal/signal-client.ts'
import { restingClock } from '../testing/at-rest.fixture.ts'
import { DirectoryMembership } from './directory-membership.ts'
import { RecordSeq } from './record-seq.ts'

/** Full jitter at its upper end, so that waits are known. */
const LONGEST: Random = { bytes: (length) => new Uint8Array(length), uniform: () => 1 }
const MINUTE_MS = 60_000

let clock: VirtualClock
let key: SigningKey
let signal: FakeSignal
let membership: DirectoryMembership
let joined: number
let states: number
let errors: MeshError[]

/** The part of a SignalClient that matters here; answers are the test's. */
class FakeSignal {
  session: SignalSession | undefined
  state = { kind: 'connected' }
  readonly records: MembershipRecord[] = []
  readonly left: MembershipRecord[] = []
  readonly refusals: MeshError[] = []
  gate: Promise<void> = Promise.resolve()

  wallMs(): number {
    return clock.wallMs()
  }

  async join(record: SignedRecord): Promise<JoinResponse> {
    this.records.push((await verifyRecord(record, { nowMs: clock.wallMs() })).record)
    const refusal = this.refusals.shift()
    if (refusal) throw refusal
    await this.gate
    return { $typeName: 'mesh.signal.v1.JoinResponse', revision: 1n, members: [], memberCount: 1 }
  }

  async leave(record: SignedRecord): Promise<void> {
    this.left.push((await verifyRecord(record, { nowMs: clock.wallMs(), kind: MembershipKind.LEAVE })).record)
  }
}

function session(number: number, limits: object = {}): SignalSession {
  return {
    id: new Uint8Array(16).fill(number),
    order: BigInt(number),
    sessionKey: { publicKey: new Uint8Array(32).fill(9) },
    serverKey: key.publicKey,
    limits,
  } as unknown as SignalSession
}

beforeEach(async () => {
  clock = restingClock()
  key = await signingKeyFromSeed(new Uint8Array(32).fill(1))
  signal = new FakeSignal()
  signal.session = session(1)
  joined = states = 0
  errors = []
  membership = new DirectoryMembership({
    signal: signal as unknown as SignalClient,
    party: openParty(new Uint8Array(32).fill(3)),
    key,
    clock,
    random: LONGEST,
    seq: new RecordSeq(),
    state: Uint8Array.of(1),
    onJoined: () => joined++,
    onState: () => states++,
    onError: (error) => errors.push(error),
  })
})

function seqs(): bigint[] {
  return signal.records.map(({ seq }) => seq)
}

describe('directory membership', () => {
  it('joins with a record of the session, the server and the state', async () => {
    membership.refresh()
    await clock.advance(0)
    expect(signal.records).toMatchObject([
      {
        kind: MembershipKind.JOIN,
        peerKey: key.publicKey,
        sessionId: new Uint8Array(16).fill(1),
        homeKey: key.publicKey,
        ttlMs: 900_000,
        state: Uint8Array.of(1),
        issuedAtMs: BigInt(clock.wallMs()),
      },
    ])
    expect([joined, membership.joined]).toEqual([1, true])
    expect(membership.current?.session).toBe(signal.session)
  })

  it('waits for a session', async () => {
    signal.session = undefined
    membership.refresh()
    await clock.advance(MINUTE_MS)
    expect(signal.records).toEqual([])
    signal.session = session(1)
    membership.resume()
    await clock.advance(0)
    expect(joined).toBe(1)
  })

  it('refreshes at two thirds of its life, with a higher seq', async () => {
    membership.refresh()
    await clock.advance(10 * MINUTE_MS - 1)
    expect(signal.records).toHaveLength(1)
    await clock.advance(1)
    expect(signal.records).toHaveLength(2)
    expect(seqs()[1]).toBeGreaterThan(seqs()[0] as bigint)
  })

  it('lives as long as the server allows, and refreshes in time for that', async () => {
    signal.session = session(1, { maxRecordTtlMs: 60_000 })
    membership.refresh()
    await clock.advance(40_000)
    expect(signal.records.map(({ ttlMs }) => ttlMs)).toEqual([60_000, 60_000])
    signal.session = session(1, { minRecordTtlMs: 1_800_000 })
    await clock.advance(40_000)
    expect(signal.records.at(-1)?.ttlMs).toBe(1_800_000)
  })

  it('goes on above the seq of another life of this peer', async () => {
    const theirs = BigInt(clock.wallMs() + MINUTE_MS) * 1_024n
    signal.refusals.push(new MeshError(ErrorReason.RECORD_STALE, 'stale', { value: theirs }))
    membership.refresh()
    await clock.advance(250)
    expect(seqs()).toHaveLength(2)
    expect(seqs()[1]).toBe(theirs + 1n)
    expect([joined, errors]).toEqual([1, []])
  })

  it('does not follow a server that pushes the seq years ahead', async () => {
    const far = BigInt(clock.wallMs() + 400 * 86_400_000) * 1_024n
    signal.refusals.push(new MeshError(ErrorReason.RECORD_STALE, 'stale', { value: far }))
    membership.refresh()
    await clock.advance(MINUTE_MS)
    expect(errors).toMatchObject([{ reasonName: 'RECORD_STALE' }])
    membership.refresh()
    await clock.advance(0)
    expect(seqs().at(-1)).toBeLessThan(far)
  })

  it('tries again with backoff, and not before the server allows', async () => {
    signal.refusals.push(
      new MeshError(ErrorReason.UNREACHABLE, 'lost', { retryable: true }),
      new MeshError(ErrorReason.LIMIT_EXCEEDED, 'slower', { retryAfterMs: 20_000 }),
    )
    membership.refresh()
    await clock.advance(249)
    expect(signal.records).toHaveLength(1)
    await clock.advance(1)
    expect(signal.records).toHaveLength(2)
    await clock.advance(19_999)
    expect(signal.records).toHaveLength(2)
    await clock.advance(1)
    expect(joined).toBe(1)
    expect(errors.map(({ reasonName }) => reasonName)).toEqual(['UNREACHABLE', 'LIMIT_EXCEEDED'])
  })

  it('stops after a refusal that is final, until something changes', async () => {
    signal.refusals.push(new MeshError(ErrorReason.RECORD_STATE, 'too large'))
    membership.refresh()
    await clock.advance(60 * MINUTE_MS)
    expect(signal.records).toHaveLength(1)
    membership.setState(Uint8Array.of(2))
    await clock.advance(0)
    expect([joined, signal.records.at(-1)?.state]).toEqual([1, Uint8Array.of(2)])
  })

  it('tells of a record with another state, also while no server takes it', async () => {
    membership.refresh()
    await clock.advance(700_000)
    expect(states).toBe(0)
    signal.refusals.push(new MeshError(ErrorReason.UNREACHABLE, 'down', { retryable: true }))
    membership.setState(Uint8Array.of(2))
    await clock.advance(0)
    expect([states, membership.current?.signed.record.length]).toEqual([1, expect.any(Number)])
    await clock.advance(700_000)
    expect(states).toBe(1)
  })

  it('is renewed after a sleep that its timer did not count, and not before it is due', async () => {
    membership.refresh()
    await clock.advance(0)
    clock.skewWall(500_000)
    membership.check()
    await clock.advance(0)
    expect(signal.records).toHaveLength(1)
    clock.skewWall(200_000)
    membership.check()
    await clock.advance(0)
    expect(signal.records).toHaveLength(2)
  })

  it('joins again with the newest state when it changed on the way', async () => {
    const gate = Promise.withResolvers<void>()
    signal.gate = gate.promise
    membership.refresh()
    await clock.advance(0)
    membership.setState(Uint8Array.of(2))
    membership.setState(Uint8Array.of(3))
    gate.resolve()
    await clock.advance(0)
    expect(signal.records.map(({ state }) => state[0])).toEqual([1, 3])
  })

  it('refuses a state of more than 1,024 bytes', () => {
    expect(() => membership.setState(new Uint8Array(1_025))).toThrow(
      expect.objectContaining({ reasonName: 'RECORD_STATE', value: 1_025n }),
    )
  })

  it('does not join twice while its first join is under way', async () => {
    const gate = Promise.withResolvers<void>()
    signal.gate = gate.promise
    membership.refresh()
    await clock.advance(0)
    membership.resume()
    gate.resolve()
    await clock.advance(0)
    membership.resume()
    await clock.advance(0)
    expect(signal.records).toHaveLength(1)
  })

  it('joins in the new session what was signed for the old one', async () => {
    membership.refresh()
    await clock.advance(0)
    expect(membership.joined).toBe(true)
    signal.session = session(2)
    expect(membership.joined).toBe(false)
    signal.join = async (record) => {
      signal.session = session(3)
      Object.assign(signal, { join: FakeSignal.prototype.join })
      throw new MeshError(ErrorReason.RECORD_SESSION, `not the session of ${record.record.length}`)
    }
    membership.resume()
    await clock.advance(0)
    expect(signal.records.at(-1)?.sessionId).toEqual(new Uint8Array(16).fill(3))
    expect(errors).toEqual([])
  })

  it('leaves with a record above its last, and refreshes no more', async () => {
    membership.refresh()
    await clock.advance(0)
    await membership.leave()
    expect(signal.left).toMatchObject([{ kind: MembershipKind.LEAVE, sessionId: new Uint8Array(16).fill(1) }])
    expect(signal.left[0]?.seq).toBeGreaterThan(seqs()[0] as bigint)
    membership.refresh()
    await clock.advance(60 * MINUTE_MS)
    expect(signal.records).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  it('leaves without a word when its session is gone', async () => {
    membership.refresh()
    await clock.advance(0)
    signal.session = session(2)
    await membership.leave()
    expect(signal.left).toEqual([])
  })

  it('leaves also when the server does not answer', async () => {
    membership.refresh()
    await clock.advance(0)
    signal.leave = async () => {
      throw new MeshError(ErrorReason.UNREACHABLE, 'lost')
    }
    await membership.leave()
  })
})
