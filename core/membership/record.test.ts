import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { MembershipRecord, SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, equalBytes, toHex } from '../bytes.ts'
import { ErrorReason, type MeshError } from '../error.ts'
import type { SigningKey } from '../identity/ed25519.ts'
import { signStatement } from '../identity/statement.ts'
import { assembleCast, CAST_NOW_MS, type Cast } from '../testing/cast.fixture.ts'
import { expectRefusal, tryBitFlips } from '../testing/refusal.fixture.ts'
import type { RecordExpectations, RecordFields, VerifiedRecord } from './record.ts'
import { decideRecord, MAX_RECORD_BYTES, nextSeq, signRecord, verifyRecord, verifyRecordSync } from './record.ts'

const SKEW_MS = 120_000
const TTL_MS = 900_000

let cast: Cast
let fields: Omit<RecordFields, 'peerKey'>
let signed: SignedRecord

beforeAll(async () => {
  cast = await assembleCast()
  fields = {
    kind: MembershipKind.JOIN,
    topic: cast.party.topic,
    sessionId: cast.alice.sessionId,
    seq: nextSeq(0n, CAST_NOW_MS),
    issuedAtMs: CAST_NOW_MS,
    ttlMs: TTL_MS,
    sessionKey: cast.alice.sessionKey.publicKey,
    homeKey: cast.server.publicKey,
    sessionOrder: 1n,
    state: Uint8Array.of(1, 2, 3),
  }
  signed = await signRecord(cast.alice.key, fields)
})

/** Verifies both ways, which must agree: the one in place is told what WebCrypto found about the signature. */
async function verify(record: SignedRecord, expectations: Partial<RecordExpectations> = {}): Promise<VerifiedRecord> {
  const asked = { nowMs: CAST_NOW_MS, ...expectations }
  const copy = structuredClone(record)
  let isSigned = true
  const inPlace = () => verifyRecordSync(copy, { ...asked, verify: () => isSigned })
  try {
    const verified = await verifyRecord(record, asked)
    expect(inPlace()).toEqual(verified)
    return verified
  } catch (error) {
    isSigned = (error as MeshError).reason !== ErrorReason.SIGNATURE_INVALID
    expect(inPlace).toThrow(error as MeshError)
    throw error
  }
}

/** Signs any bytes as a record, whether they are one or not. */
async function signBytes(record: Uint8Array, key: SigningKey = cast.alice.key): Promise<SignedRecord> {
  return create(SignedRecordSchema, { record, signature: await signStatement(key, 'membership', record) })
}

/** The valid record with some fields changed, signed again by its own peer. */
async function forged(change: Partial<MembershipRecord>): Promise<SignedRecord> {
  return signBytes(changed(change))
}

function changed(change: Partial<MembershipRecord>): Uint8Array {
  const valid = fromBinary(MembershipRecordSchema, signed.record)
  return toBinary(MembershipRecordSchema, create(MembershipRecordSchema, { ...valid, ...change }))
}

describe('a record', () => {
  it('is accepted when it is as its peer signed it', async () => {
    const {
      record,
      expiresAtMs,
      signed: kept,
    } = await verify(signed, {
      topic: cast.party.topic,
      peerKey: cast.alice.key.publicKey,
      homeKey: cast.server.publicKey,
      sessionId: cast.alice.sessionId,
      kind: MembershipKind.JOIN,
    })
    expect(toHex(record.peerKey)).toBe(toHex(cast.alice.key.publicKey))
    expect([...record.state]).toEqual([1, 2, 3])
    expect(expiresAtMs).toBe(CAST_NOW_MS + TTL_MS + SKEW_MS)
    expect(toHex(kept.record)).toBe(toHex(signed.record))
  })

  it('is kept in bytes of its own when the buffer it came in is reused', async () => {
    const buffer = Uint8Array.from(concatBytes(new Uint8Array(100), signed.record))
    const arriving = create(SignedRecordSchema, { ...signed, record: buffer.subarray(100) })
    const pending = verify(arriving)
    buffer.fill(0)
    const verified = await pending
    expect(toHex(verified.signed.record)).toBe(toHex(signed.record))
    expect(verified.signed.record.buffer.byteLength).toBe(signed.record.length)
  })

  it('is accepted when it has a field that this version does not know and does not call critical', async () => {
    // Field 100, varint 1.
    const extended = await signBytes(concatBytes(signed.record, Uint8Array.of(0xa0, 0x06, 0x01)))
    expect((await verify(extended)).record.seq).toBe(fields.seq)
  })

  it('is accepted to its last millisecond, clock skew included, and not after', async () => {
    const endMs = CAST_NOW_MS + TTL_MS + SKEW_MS
    await verify(signed, { nowMs: endMs - 1 })
    await expectRefusal(() => verify(signed, { nowMs: endMs }), 'RECORD_EXPIRED')
  })

  it('is accepted from a clock that is ahead by the skew, and not by more', async () => {
    await verify(signed, { nowMs: CAST_NOW_MS - SKEW_MS })
    await expectRefusal(() => verify(signed, { nowMs: CAST_NOW_MS - SKEW_MS - 1 }), 'RECORD_FUTURE')
  })
})

type Case = [what: string, build: () => Promise<SignedRecord>, reason: keyof typeof ErrorReason]

/** Signed by the right peer, and wrong in itself. */
const OUT_OF_SHAPE: Case[] = [
  ['is empty', () => signBytes(new Uint8Array()), 'RECORD_MALFORMED'],
  ['is truncated', () => signBytes(signed.record.subarray(0, -1)), 'RECORD_MALFORMED'],
  ['has a trailing byte', () => signBytes(concatBytes(signed.record, Uint8Array.of(0))), 'RECORD_MALFORMED'],
  ['is larger than 2 KiB', () => signBytes(new Uint8Array(MAX_RECORD_BYTES + 1)), 'RECORD_MALFORMED'],
  ['has no version', () => forged({ version: 0 }), 'RECORD_VERSION'],
  ['has an unknown version', () => forged({ version: 2 }), 'RECORD_VERSION'],
  ['has no kind', () => forged({ kind: MembershipKind.UNSPECIFIED }), 'RECORD_KIND'],
  ['has an unknown kind', () => forged({ kind: 3 as MembershipKind }), 'RECORD_KIND'],
  ['has a topic of zeros', () => forged({ topic: new Uint8Array(32) }), 'RECORD_TOPIC'],
  ['has a topic of 31 bytes', () => forged({ topic: new Uint8Array(31).fill(1) }), 'RECORD_TOPIC'],
  ['has no peer key', () => forged({ peerKey: new Uint8Array() }), 'RECORD_PEER'],
  ['has a session id of 15 bytes', () => forged({ sessionId: new Uint8Array(15) }), 'RECORD_SESSION'],
  ['has no session order', () => forged({ sessionOrder: 0n }), 'RECORD_SESSION'],
  ['has seq 0', () => forged({ seq: 0n }), 'RECORD_SEQ'],
  ['has ttl 0', () => forged({ ttlMs: 0 }), 'RECORD_TTL'],
  ['has a ttl below one second', () => forged({ ttlMs: 999 }), 'RECORD_TTL'],
  ['has a ttl above a day', () => forged({ ttlMs: 86_400_001 }), 'RECORD_TTL'],
  ['has a ttl of 2^32 - 1', () => forged({ ttlMs: 2 ** 32 - 1 }), 'RECORD_TTL'],
  ['has a ttl of ten years', () => signBytes(withTtl(315_360_000_000n)), 'RECORD_TTL'],
  ['has a session key of zeros', () => forged({ sessionKey: new Uint8Array(32) }), 'RECORD_SESSION_KEY'],
  [
    'has a session key of low order',
    () => forged({ sessionKey: Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0)) }),
    'RECORD_SESSION_KEY',
  ],
  [
    'has a session key that is not canonical',
    () => forged({ sessionKey: new Uint8Array(32).fill(255) }),
    'RECORD_SESSION_KEY',
  ],
  ['has a session key of 33 bytes', () => forged({ sessionKey: new Uint8Array(33).fill(9) }), 'RECORD_SESSION_KEY'],
  ['has no home', () => forged({ homeKey: new Uint8Array() }), 'RECORD_HOME'],
  ['has 1,025 bytes of state', () => forged({ state: new Uint8Array(1_025) }), 'RECORD_STATE'],
  ['has an unknown critical field', () => forged({ critical: [3, 14] }), 'RECORD_CRITICAL'],
  ['was issued in the future', () => forged({ issuedAtMs: BigInt(CAST_NOW_MS + SKEW_MS + 1) }), 'RECORD_FUTURE'],
  ['was issued at 2^64 - 1', () => forged({ issuedAtMs: 2n ** 64n - 1n }), 'RECORD_FUTURE'],
  ['has expired', () => forged({ issuedAtMs: BigInt(CAST_NOW_MS - TTL_MS - SKEW_MS) }), 'RECORD_EXPIRED'],
  ['was issued at 0', () => forged({ issuedAtMs: 0n }), 'RECORD_EXPIRED'],
]

/** Changed by somebody else after its peer signed it, or never signed by it. */
const NOT_SIGNED: Case[] = [
  ['is signed by another peer', () => signBytes(signed.record, cast.mallory.key), 'SIGNATURE_INVALID'],
  ['has another topic', () => tampered({ topic: new Uint8Array(32).fill(1) }), 'SIGNATURE_INVALID'],
  ['has another peer', () => tampered({ peerKey: cast.mallory.key.publicKey }), 'SIGNATURE_INVALID'],
  ['has another home', () => tampered({ homeKey: cast.mallory.key.publicKey }), 'SIGNATURE_INVALID'],
  ['has another session key', () => tampered({ sessionKey: cast.mallory.sessionKey.publicKey }), 'SIGNATURE_INVALID'],
  ['has another session', () => tampered({ sessionId: cast.mallory.sessionId }), 'SIGNATURE_INVALID'],
  ['has another seq', () => tampered({ seq: fields.seq + 1n }), 'SIGNATURE_INVALID'],
  ['has a longer ttl', () => tampered({ ttlMs: TTL_MS + 1 }), 'SIGNATURE_INVALID'],
  ['has another state', () => tampered({ state: new Uint8Array() }), 'SIGNATURE_INVALID'],
  ['was turned from JOIN into LEAVE', () => tampered({ kind: MembershipKind.LEAVE }), 'SIGNATURE_INVALID'],
  [
    'has a field more',
    async () => ({ ...signed, record: concatBytes(signed.record, Uint8Array.of(0xa0, 6, 1)) }),
    'SIGNATURE_INVALID',
  ],
  [
    'has a signature under another label',
    () => signedAs((bytes) => signStatement(cast.alice.key, 'credential', bytes)),
    'SIGNATURE_INVALID',
  ],
  ['has a signature without a label', () => signedAs((bytes) => cast.alice.key.sign(bytes)), 'SIGNATURE_INVALID'],
  ['has no signature', () => signedAs(async () => new Uint8Array()), 'SIGNATURE_INVALID'],
  ['has a signature with S + L', () => signedAs(async () => plusL(signed.signature)), 'SIGNATURE_INVALID'],
  ['has a peer key of small order', () => forged({ peerKey: new Uint8Array(32) }), 'KEY_INVALID'],
]

async function tampered(change: Partial<MembershipRecord>): Promise<SignedRecord> {
  return create(SignedRecordSchema, { record: changed(change), signature: signed.signature })
}

async function signedAs(sign: (bytes: Uint8Array) => Promise<Uint8Array>): Promise<SignedRecord> {
  return create(SignedRecordSchema, { record: signed.record, signature: await sign(signed.record) })
}

/** ttl_ms does not fit into its uint32 here: readers keep the low 32 bits. */
function withTtl(ttlMs: bigint): Uint8Array {
  const varint: number[] = []
  for (let rest = ttlMs; rest > 0n; rest >>= 7n) varint.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
  return concatBytes(changed({ ttlMs: 0 }), Uint8Array.of(8 << 3, ...varint))
}

function plusL(signature: Uint8Array): Uint8Array {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  let scalar = BigInt(`0x${toHex(Uint8Array.from(signature.subarray(32)).reverse())}`) + order
  const result = Uint8Array.from(signature)
  for (let i = 32; i < 64; i++, scalar >>= 8n) result[i] = Number(scalar & 255n)
  return result
}

describe('a record is refused', () => {
  it.each(OUT_OF_SHAPE)('when it %s', async (_, build, reason) => {
    const record = await build()
    await expectRefusal(() => verify(record), reason)
  })

  it.each(NOT_SIGNED)('when it %s', async (_, build, reason) => {
    const record = await build()
    await expectRefusal(() => verify(record), reason)
  })

  it("when its peer is not the session's", async () => {
    await expectRefusal(() => verify(signed, { peerKey: cast.bob.key.publicKey }), 'RECORD_PEER')
  })

  it('when its topic, home, session or kind is not the expected one', async () => {
    await expectRefusal(() => verify(signed, { topic: new Uint8Array(32).fill(1) }), 'RECORD_TOPIC')
    await expectRefusal(() => verify(signed, { homeKey: cast.bob.key.publicKey }), 'RECORD_HOME')
    await expectRefusal(() => verify(signed, { sessionId: cast.bob.sessionId }), 'RECORD_SESSION')
    await expectRefusal(() => verify(signed, { kind: MembershipKind.LEAVE }), 'RECORD_KIND')
  })

  it('by the limits of the verifier when they are tighter', async () => {
    await expectRefusal(() => verify(signed, { limits: { maxRecordTtlMs: 60_000 } }), 'RECORD_TTL')
    await expectRefusal(() => verify(signed, { limits: { maxStateBytes: 2 } }), 'RECORD_STATE')
  })

  it('when any one of its bits is flipped', async () => {
    const { tried, acceptedBits } = await tryBitFlips(SignedRecordSchema, signed, (mutated) => verify(mutated))
    expect(acceptedBits).toEqual([])
    // Record and signature are nearly all of the message.
    expect(tried).toBeGreaterThan((signed.record.length + signed.signature.length) * 8)
  })

  it('by its own peer when every reader would refuse it', async () => {
    await expectRefusal(() => signRecord(cast.alice.key, { ...fields, ttlMs: 1 }), 'RECORD_TTL')
    await expectRefusal(() => signRecord(cast.alice.key, { ...fields, state: new Uint8Array(2_000) }), 'RECORD_STATE')
  })
})

describe('the newest record', () => {
  it('is the one with the highest seq, and equal bytes are the same', async () => {
    const first = await verify(signed)
    const second = await verify(await signRecord(cast.alice.key, { ...fields, seq: fields.seq + 1n }))
    expect(decideRecord(undefined, first)).toBe('newer')
    expect(decideRecord(first, second)).toBe('newer')
    expect(decideRecord(second, first)).toBe('stale')
    expect(decideRecord(first, await verify(signed))).toBe('same')
  })

  it('is nobody when two have the same seq and other bytes', async () => {
    const first = await verify(signed)
    const other = await verify(await signRecord(cast.alice.key, { ...fields, state: new Uint8Array() }))
    expect(decideRecord(first, other)).toBe('equivocation')
  })

  it('is the LEAVE when the JOIN before it is replayed', async () => {
    const join = await verify(signed)
    const leaveFields = { ...fields, kind: MembershipKind.LEAVE, seq: fields.seq + 1n }
    const leave = await verify(await signRecord(cast.alice.key, leaveFields))
    expect(decideRecord(join, leave)).toBe('newer')
    expect(decideRecord(leave, join)).toBe('stale')
  })
})

describe('seq', () => {
  it('follows the clock, and rises when the clock does not', () => {
    const fromClock = nextSeq(0n, CAST_NOW_MS)
    expect(fromClock).toBe(BigInt(CAST_NOW_MS) * 1_024n)
    expect(nextSeq(fromClock, CAST_NOW_MS)).toBe(fromClock + 1n)
    expect(nextSeq(fromClock + 5n, CAST_NOW_MS - 10_000)).toBe(fromClock + 6n)
    expect(nextSeq(fromClock, CAST_NOW_MS + 0.9)).toBe(fromClock + 1n)
  })

  it('of a restarted peer is above all it could have used before', () => {
    let seq = nextSeq(0n, CAST_NOW_MS)
    for (let i = 0; i < 1_000; i++) seq = nextSeq(seq, CAST_NOW_MS)
    expect(nextSeq(0n, CAST_NOW_MS + 1)).toBeGreaterThan(seq)
  })
})

describe('the test record', () => {
  it('is valid, so that each refusal above has the cause it names', async () => {
    expect(equalBytes((await verify(await forged({}))).signed.record, signed.record)).toBe(true)
  })
})
