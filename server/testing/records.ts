import { create, toBinary } from '@bufbuild/protobuf'
import type { VerifiedRecord } from '@mesh/core'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'

export interface TestRecordFields {
  readonly kind?: MembershipKind
  readonly topic?: number
  readonly peer?: number
  readonly session?: number
  readonly order?: bigint
  readonly seq?: number
  readonly issuedAtMs?: number
  readonly ttlMs?: number
  readonly state?: number
}

/** Keys and ids of tests: a number, repeated. */
export function keyBytes(value: number): Uint8Array {
  return new Uint8Array(32).fill(value)
}

export function sessionBytes(value: number): Uint8Array {
  return new Uint8Array(16).fill(value)
}

/**
 * A record as the directory gets it: taken for verified, because that happens before. Its signature is not one.
 * Defaults: a JOIN of peer 1 in topic 1 by session 1, seq 1, issued at 0, for 15 minutes.
 */
export function verifiedRecord(fields: TestRecordFields = {}): VerifiedRecord {
  const { kind = MembershipKind.JOIN, topic = 1, peer = 1, session = 1, seq = 1, issuedAtMs = 0 } = fields
  const { ttlMs = 900_000, state = 0, order = 0n } = fields
  const record = create(MembershipRecordSchema, {
    version: 1,
    kind,
    topic: keyBytes(topic),
    peerKey: keyBytes(peer),
    sessionId: sessionBytes(session),
    sessionOrder: order,
    seq: BigInt(seq),
    issuedAtMs: BigInt(issuedAtMs),
    ttlMs,
    state: state === 0 ? new Uint8Array() : Uint8Array.of(state),
  })
  const signed = create(SignedRecordSchema, {
    record: toBinary(MembershipRecordSchema, record),
    signature: new Uint8Array(64).fill(peer),
  })
  return { record, signed, expiresAtMs: issuedAtMs + ttlMs + 120_000 }
}
