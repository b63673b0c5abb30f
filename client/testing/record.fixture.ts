import { create, toBinary } from '@bufbuild/protobuf'
import type { VerifiedRecord } from '@mesh/core'
import { MembershipKind, MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'

/** Fields of a record by small numbers: tests need them to differ, not to verify. */
export interface FakeRecordFields {
  readonly peer?: number
  readonly seq?: number
  readonly session?: number
  readonly order?: bigint
  readonly state?: Uint8Array
  readonly kind?: MembershipKind
  readonly expiresAtMs?: number
}

export const FAKE_TOPIC = new Uint8Array(32).fill(9)

/** A record as if it had been verified: nothing in it is signed. */
export function fakeRecord(fields: FakeRecordFields = {}): VerifiedRecord {
  const { peer = 1, seq = 1, session = 1, order = 1n << 20n, state = new Uint8Array(0) } = fields
  const record = create(MembershipRecordSchema, {
    version: 1,
    kind: fields.kind ?? MembershipKind.JOIN,
    topic: FAKE_TOPIC,
    peerKey: new Uint8Array(32).fill(peer),
    sessionId: new Uint8Array(16).fill(session),
    seq: BigInt(seq),
    sessionOrder: order,
    state,
  })
  const signed: SignedRecord = {
    $typeName: 'mesh.signal.v1.SignedRecord',
    record: toBinary(MembershipRecordSchema, record),
    signature: new Uint8Array(64),
  }
  return { record, signed, expiresAtMs: fields.expiresAtMs ?? 900_000 }
}
