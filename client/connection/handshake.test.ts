import { fromBinary } from '@bufbuild/protobuf'
import {
  ErrorReason,
  equalBytes,
  generateSessionKeyPair,
  generateSigningKey,
  MeshError,
  openParty,
  openSignal,
  type Party,
  partyFromPublicKey,
  type SessionKeyPair,
  type SigningKey,
  signRecord,
  type VerifiedRecord,
  verifyRecord,
} from '@mesh/core'
import { PeerPayloadSchema, type SealedSignal, type Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { beforeAll, describe, expect, it } from 'vitest'
import type { SignalSession } from '../signal/session.ts'
import { fakeRecord } from '../testing/record.fixture.ts'
import { type HandshakeSelf, linkKeys, requireOwnRecord, sealTo } from './handshake.ts'

const NOW_MS = 1_767_225_600_000
const CONNECTION_ID = new Uint8Array(16).fill(4)

interface Side {
  readonly key: SigningKey
  readonly pair: SessionKeyPair
  readonly sessionId: Uint8Array
  readonly record: VerifiedRecord
  readonly self: HandshakeSelf
}

async function makeSide(number: number, party: Party): Promise<Side> {
  const key = await generateSigningKey()
  const pair = await generateSessionKeyPair()
  const sessionId = new Uint8Array(16).fill(number)
  const signed = await signRecord(key, {
    kind: MembershipKind.JOIN,
    topic: party.topic,
    sessionId,
    seq: 1n,
    issuedAtMs: NOW_MS,
    ttlMs: 60_000,
    sessionKey: pair.publicKey,
    homeKey: key.publicKey,
    sessionOrder: 1n,
  })
  const record = await verifyRecord(signed, { nowMs: NOW_MS })
  const session = { id: sessionId, sessionKey: pair } as unknown as SignalSession
  return { key, pair, sessionId, record, self: { key, session, party, record: signed } }
}

function sealedIn(payload: Uint8Array): SealedSignal {
  return fromBinary(PeerPayloadSchema, payload).payload.value as SealedSignal
}

function open(payload: Uint8Array, { key, pair, sessionId }: Side, party: Party) {
  return openSignal({
    sealed: sealedIn(payload),
    sessionKey: pair,
    self: { peerKey: key.publicKey, sessionId },
    topic: party.topic,
    ...(party.psk && { psk: party.psk }),
  })
}

describe.each(['a party known by its key', 'an open topic'])('handshake in %s', (kind) => {
  let party: Party
  let alice: Side
  let bob: Side
  beforeAll(async () => {
    const { publicKey } = await generateSigningKey()
    party = kind === 'an open topic' ? openParty(publicKey) : partyFromPublicKey(publicKey)
    alice = await makeSide(1, party)
    bob = await makeSide(2, party)
  })

  it('seals a signal that only the recipient’s session opens', async () => {
    const body: Signal['body'] = {
      case: 'knock',
      value: { $typeName: 'mesh.peer.v1.Knock', record: alice.self.record },
    }
    const { payload, exported } = await sealTo(alice.self, bob.record, 7n, CONNECTION_ID, body)
    const opened = await open(payload, bob, party)
    expect(opened.signal).toMatchObject({ seq: 7n, connectionId: CONNECTION_ID, body: { case: 'knock' } })
    expect(opened.signal.from).toEqual(alice.key.publicKey)
    expect(opened.exported).toEqual(exported)
    await expect(open(payload, await makeSide(2, party), party)).rejects.toBeInstanceOf(MeshError)
  })

  it('gives both sides keys that fit, and others for another connection', async () => {
    const exports = { hello: new Uint8Array(32).fill(1), helloReply: new Uint8Array(32).fill(2) }
    const aliceIsLower = Buffer.compare(alice.key.publicKey, bob.key.publicKey) < 0
    const [lower, higher] = aliceIsLower ? [alice, bob] : [bob, alice]
    const [low, high] = await Promise.all([
      linkKeys(lower.self, higher.record, 'lower', CONNECTION_ID, exports, undefined),
      linkKeys(higher.self, lower.record, 'higher', CONNECTION_ID, exports, undefined),
    ])
    expect(equalBytes(low.transcriptHash, high.transcriptHash)).toBe(true)
    const message = new TextEncoder().encode('hello')
    expect(await high.receive.open(await low.send.seal(message))).toEqual(message)
    expect(await low.receive.open(await high.send.seal(message))).toEqual(message)
    const other = await linkKeys(lower.self, higher.record, 'lower', new Uint8Array(16), exports, undefined)
    expect(equalBytes(other.transcriptHash, low.transcriptHash)).toBe(false)
    await other.send.seal(message)
    await expect(high.receive.open(await other.send.seal(message))).rejects.toMatchObject({
      reason: ErrorReason.LINK_OPEN,
    })
  })
})

describe('requireOwnRecord', () => {
  const record = fakeRecord({ peer: 1, session: 1 })
  const signal = {
    from: record.record.peerKey,
    topic: record.record.topic,
    fromSession: record.record.sessionId,
  } as Signal

  it('takes the sender’s record, in the topic and session of the signal', () => {
    expect(() => requireOwnRecord(signal, record)).not.toThrow()
  })

  it.each([
    ['somebody else’s record', fakeRecord({ peer: 2 }), 'SEAL_SENDER'],
    ['a record of another session', fakeRecord({ session: 2 }), 'SEAL_SESSION'],
    [
      'a record of another topic',
      { ...record, record: { ...record.record, topic: new Uint8Array(32).fill(8) } },
      'SEAL_TOPIC',
    ],
  ])('refuses %s', (_what, other, reasonName) => {
    expect(() => requireOwnRecord(signal, other)).toThrow(expect.objectContaining({ reasonName }))
  })
})
