import { create, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, type MeshError } from '@mesh/core'
import {
  MembershipKind,
  type MembershipRecord,
  MembershipRecordSchema,
  type SignedRecord,
  SignedRecordSchema,
} from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { describe, expect, test } from 'vitest'
import { peerBytes, START_WALL_MS, serverBytes, testRecord, testSignature, topicBytes } from '../replication.fixture.ts'
import { checkRow, type RowExpectations, readRecordFields } from './record-fields.ts'

const valid = testRecord({ seq: 2 ** 45, order: 9, state: 3 })
const row = { topic: topicBytes(1), peerKey: peerBytes(1), sessionOrder: 9n }
const expected: RowExpectations = {
  kind: MembershipKind.JOIN,
  homeKey: serverBytes(1),
  nowWallMs: START_WALL_MS,
}

function changed(change: Partial<MembershipRecord>) {
  const record = toBinary(MembershipRecordSchema, { ...valid.record, ...change })
  return create(SignedRecordSchema, { record, signature: testSignature() })
}

function reasonOf(signed: SignedRecord | undefined, expectations = expected): ErrorReason | undefined {
  try {
    checkRow({ ...row, ...(signed && { record: signed }) }, expectations)
    return undefined
  } catch (error) {
    return (error as MeshError).reason
  }
}

describe('the fields of a record', () => {
  test('are read as the decoder reads them, and found where they lie', () => {
    const { record } = valid.signed
    const fields = readRecordFields(record)
    expect(fields).toMatchObject({ version: 1, kind: 1, seq: 2n ** 45n, sessionOrder: 9n, ttlMs: 900_000 })
    expect(record.slice(fields.peerAt, fields.peerAt + 32)).toEqual(valid.record.peerKey)
    expect(record.slice(fields.sessionAt, fields.sessionAt + 16)).toEqual(valid.record.sessionId)
  })

  test('count the last time when they come twice', () => {
    const second = toBinary(MembershipRecordSchema, create(MembershipRecordSchema, { peerKey: peerBytes(2), seq: 7n }))
    const twice = new Uint8Array([...valid.signed.record, ...second])
    const fields = readRecordFields(twice)
    expect(fields.seq).toBe(7n)
    expect(twice.slice(fields.peerAt, fields.peerAt + 32)).toEqual(peerBytes(2))
  })
})

describe('a row', () => {
  test('is taken when it is what its origin may send', () => {
    expect(reasonOf(valid.signed)).toBeUndefined()
  })

  test.each([
    ['has no record', undefined, ErrorReason.RECORD_MALFORMED],
    [
      'is not protobuf',
      create(SignedRecordSchema, { record: Uint8Array.of(255), signature: testSignature() }),
      ErrorReason.RECORD_MALFORMED,
    ],
    [
      'has half a signature',
      create(SignedRecordSchema, { record: valid.signed.record, signature: new Uint8Array(32) }),
      ErrorReason.SIGNATURE_INVALID,
    ],
    ['is of another version', changed({ version: 2 }), ErrorReason.RECORD_VERSION],
    ['is a LEAVE', changed({ kind: MembershipKind.LEAVE }), ErrorReason.RECORD_KIND],
    ['is of another topic', changed({ topic: topicBytes(2) }), ErrorReason.RECORD_TOPIC],
    ['is of another peer', changed({ peerKey: peerBytes(2) }), ErrorReason.RECORD_PEER],
    ['has its home elsewhere', changed({ homeKey: serverBytes(2) }), ErrorReason.RECORD_HOME],
    ['is of another session order', changed({ sessionOrder: 10n }), ErrorReason.RECORD_SESSION],
    ['has half a session id', changed({ sessionId: new Uint8Array(8) }), ErrorReason.RECORD_SESSION],
    ['has no seq', changed({ seq: 0n }), ErrorReason.RECORD_SEQ],
    ['lives for a week', changed({ ttlMs: 7 * 86_400_000 }), ErrorReason.RECORD_TTL],
    ['is from next week', changed({ issuedAtMs: BigInt(START_WALL_MS + 7 * 86_400_000) }), ErrorReason.RECORD_FUTURE],
    ['is from last week', changed({ issuedAtMs: BigInt(START_WALL_MS - 7 * 86_400_000) }), ErrorReason.RECORD_EXPIRED],
  ])('is refused when it %s', (_what, signed, reason) => {
    expect(reasonOf(signed)).toBe(reason)
  })

  test('is not judged by a clock that is off by twelve hours', () => {
    for (const offMs of [-43_200_000, 43_200_000]) {
      expect(reasonOf(valid.signed, { ...expected, nowWallMs: START_WALL_MS + offMs })).toBeUndefined()
    }
  })
})
