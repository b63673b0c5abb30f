import { create, fromBinary, toBinary, toJson } from '@bufbuild/protobuf'
import type { MembershipRecord, SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { concatBytes, toHex, utf8Encode } from '../bytes.ts'
import type { SigningKey } from '../identity/ed25519.ts'
import { signStatement } from '../identity/statement.ts'
import { nextSeq, signRecord } from '../membership/record.ts'
import type { Actor, Cast } from '../testing/cast.fixture.ts'
import { CAST_NOW_MS } from '../testing/cast.fixture.ts'

/** The actor's membership in the party of the cast. */
export function castRecord(
  cast: Cast,
  actor: Actor,
  kind: MembershipKind = MembershipKind.JOIN,
): Promise<SignedRecord> {
  const joinSeq = nextSeq(0n, CAST_NOW_MS)
  return signRecord(actor.key, {
    kind,
    topic: cast.party.topic,
    sessionId: actor.sessionId,
    seq: kind === MembershipKind.JOIN ? joinSeq : joinSeq + 1n,
    issuedAtMs: CAST_NOW_MS,
    ttlMs: 900_000,
    sessionKey: actor.sessionKey.publicKey,
    homeKey: cast.server.publicKey,
    sessionOrder: BigInt(CAST_NOW_MS) << 20n,
    state: kind === MembershipKind.JOIN ? utf8Encode('{"name":"alice"}') : new Uint8Array(),
  })
}

/** records.json */
export async function recordVectors(cast: Cast): Promise<object> {
  const join = await castRecord(cast, cast.alice)
  const leave = await castRecord(cast, cast.alice, MembershipKind.LEAVE)
  return {
    about:
      'Membership records, judged at nowMs with 120 s of allowed clock skew. `refused` are signed as each says; ' +
      'the reason is that of mesh.signal.v1.ErrorReason.',
    nowMs: String(CAST_NOW_MS),
    peerKey: toHex(cast.alice.key.publicKey),
    seed: toHex(cast.alice.seed),
    accepted: [join, leave].map((signed) => ({
      json: toJson(MembershipRecordSchema, fromBinary(MembershipRecordSchema, signed.record)),
      ...hexOf(signed),
      signedRecord: toHex(toBinary(SignedRecordSchema, signed)),
    })),
    refused: await refusedRecords(cast, join),
  }
}

async function refusedRecords(cast: Cast, join: SignedRecord): Promise<object[]> {
  const { key } = cast.alice
  const valid = fromBinary(MembershipRecordSchema, join.record)
  const changed = (change: Partial<MembershipRecord>): Uint8Array =>
    toBinary(MembershipRecordSchema, create(MembershipRecordSchema, { ...valid, ...change }))
  const resigned: [what: string, reason: string, record: Uint8Array][] = [
    ['a trailing byte', 'RECORD_MALFORMED', concatBytes(join.record, Uint8Array.of(0))],
    ['more than 2 KiB', 'RECORD_MALFORMED', concatBytes(join.record, new Uint8Array(2_048))],
    ['version 2', 'RECORD_VERSION', changed({ version: 2 })],
    ['kind 3', 'RECORD_KIND', changed({ kind: 3 as MembershipKind })],
    ['a topic of zeros', 'RECORD_TOPIC', changed({ topic: new Uint8Array(32) })],
    ['a session id of 15 bytes', 'RECORD_SESSION', changed({ sessionId: new Uint8Array(15) })],
    ['seq 0', 'RECORD_SEQ', changed({ seq: 0n })],
    ['ttl 999 ms', 'RECORD_TTL', changed({ ttlMs: 999 })],
    ['ttl 2^32 - 1', 'RECORD_TTL', changed({ ttlMs: 2 ** 32 - 1 })],
    ['a session key of low order', 'RECORD_SESSION_KEY', changed({ sessionKey: new Uint8Array(32) })],
    ['no home key', 'RECORD_HOME', changed({ homeKey: new Uint8Array() })],
    ['1,025 bytes of state', 'RECORD_STATE', changed({ state: new Uint8Array(1_025) })],
    ['an unknown critical field', 'RECORD_CRITICAL', changed({ critical: [14] })],
    ['a peer key of small order', 'KEY_INVALID', changed({ peerKey: new Uint8Array(32) })],
    ['issued 120,001 ms in the future', 'RECORD_FUTURE', changed({ issuedAtMs: BigInt(CAST_NOW_MS + 120_001) })],
    ['expired, skew included', 'RECORD_EXPIRED', changed({ issuedAtMs: BigInt(CAST_NOW_MS - 1_020_000) })],
  ]
  const unsigned: [what: string, record: Uint8Array][] = [
    ['turned into a LEAVE after signing', changed({ kind: MembershipKind.LEAVE })],
    ['moved to another home after signing', changed({ homeKey: cast.mallory.key.publicKey })],
    ['given another session key after signing', changed({ sessionKey: cast.mallory.sessionKey.publicKey })],
  ]
  const byMallory = await signedBy(cast.mallory.key, join.record)
  return [
    ...(await Promise.all(
      resigned.map(async ([what, reason, record]) => ({ what, reason, ...hexOf(await signedBy(key, record)) })),
    )),
    ...unsigned.map(([what, record]) => ({ what, reason: 'SIGNATURE_INVALID', ...hexOf({ ...join, record }) })),
    { what: 'signed by another peer', reason: 'SIGNATURE_INVALID', ...hexOf(byMallory) },
  ]
}

async function signedBy(key: SigningKey, record: Uint8Array): Promise<SignedRecord> {
  return create(SignedRecordSchema, { record, signature: await signStatement(key, 'membership', record) })
}

function hexOf(signed: SignedRecord): { record: string; signature: string } {
  return { record: toHex(signed.record), signature: toHex(signed.signature) }
}
