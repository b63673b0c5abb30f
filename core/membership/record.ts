import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { MembershipRecord, SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { equalBytes, isAllZero } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import { x25519KeyFault } from '../identity/curve25519.ts'
import type { Ed25519Verify, Ed25519VerifySync, SigningKey } from '../identity/ed25519.ts'
import { signStatement, verifyStatement, verifyStatementSync } from '../identity/statement.ts'
import type { Limits } from '../limits.ts'
import { DEFAULT_LIMITS } from '../limits.ts'

/** 2 KiB: 1 KiB of state, about 250 bytes of fixed fields, and room for fields of later versions. */
export const MAX_RECORD_BYTES = 2_048

/** Field numbers of MembershipRecord that this code understands. */
const KNOWN_FIELDS: ReadonlySet<number> = new Set(MembershipRecordSchema.fields.map((field) => field.number))

/** What a peer says about itself in one topic. See `mesh.signal.v1.MembershipRecord` for each field. */
export interface RecordFields {
  kind: MembershipKind
  /** Discovery key of the party, 32 bytes. */
  topic: Uint8Array
  /** The signer, 32 bytes. */
  peerKey: Uint8Array
  /** 16 bytes. */
  sessionId: Uint8Array
  /** Strictly rising per (topic, peer); see `nextSeq`. */
  seq: bigint
  /** Unix milliseconds. */
  issuedAtMs: number
  ttlMs: number
  /** X25519 public key of the session, 32 bytes. */
  sessionKey: Uint8Array
  /** Public key of the home server, 32 bytes. */
  homeKey: Uint8Array
  sessionOrder: bigint
  /** Opaque to MESH, at most 1 KiB. Default: empty. */
  state?: Uint8Array
}

/** A record whose bytes, signature and times have been checked. Holds its own copy of the bytes. */
export interface VerifiedRecord {
  readonly record: MembershipRecord
  /** As received: what is passed on. */
  readonly signed: SignedRecord
  /** Unix milliseconds (issued + ttl + allowed clock skew) from which on no copy of the record is valid anywhere. */
  readonly expiresAtMs: number
}

/** What the verifier already knows; a record that says otherwise is refused. */
export interface RecordExpectations {
  nowMs: number
  topic?: Uint8Array
  peerKey?: Uint8Array
  homeKey?: Uint8Array
  sessionId?: Uint8Array
  kind?: MembershipKind
  limits?: Partial<Limits>
  /** Default: WebCrypto. */
  verify?: Ed25519Verify
}

/** Writes and signs a record. Refuses to sign what every reader would refuse, with the same reasons. */
export async function signRecord(key: SigningKey, fields: Omit<RecordFields, 'peerKey'>): Promise<SignedRecord> {
  const message = create(MembershipRecordSchema, {
    ...fields,
    version: 1,
    peerKey: key.publicKey,
    issuedAtMs: BigInt(fields.issuedAtMs),
    state: fields.state ?? new Uint8Array(),
  })
  checkShape(message, DEFAULT_LIMITS)
  const record = toBinary(MembershipRecordSchema, message)
  return create(SignedRecordSchema, { record, signature: await signStatement(key, 'membership', record) })
}

/**
 * Checks a record: size, then shape, then signature, then what it says against what is known.
 *
 * @throws MeshError with the reason of the first check that fails:
 * RECORD_MALFORMED (empty, oversize, not protobuf), RECORD_VERSION, RECORD_CRITICAL, RECORD_KIND, RECORD_TOPIC,
 * RECORD_PEER, RECORD_SESSION (id or order), RECORD_SEQ, RECORD_TTL, RECORD_SESSION_KEY, RECORD_HOME, RECORD_STATE;
 * KEY_INVALID, SIGNATURE_INVALID; then RECORD_TOPIC, RECORD_PEER, RECORD_HOME, RECORD_SESSION, RECORD_KIND for an
 * expectation that is not met, RECORD_FUTURE and RECORD_EXPIRED
 */
export async function verifyRecord(signed: SignedRecord, expect: RecordExpectations): Promise<VerifiedRecord> {
  const read = readRecord(signed, expect)
  const { record, signed: copy } = read
  await verifyStatement(record.peerKey, 'membership', copy.record, copy.signature, expect.verify)
  return checkContent(read, expect)
}

/** `verifyRecord` where the runtime verifies in place; throws the same errors. */
export function verifyRecordSync(
  signed: SignedRecord,
  expect: RecordExpectations & { verify: Ed25519VerifySync },
): VerifiedRecord {
  const read = readRecord(signed, expect)
  const { record, signed: copy } = read
  verifyStatementSync(record.peerKey, 'membership', copy.record, copy.signature, expect.verify)
  return checkContent(read, expect)
}

type ReadRecord = Pick<VerifiedRecord, 'record' | 'signed'>

/** What is checked before the signature: size and shape. */
function readRecord(signed: SignedRecord, expect: RecordExpectations): ReadRecord {
  const size = signed.record.length
  if (size === 0 || size > MAX_RECORD_BYTES) {
    throw new MeshError(ErrorReason.RECORD_MALFORMED, `A record has 1 to ${MAX_RECORD_BYTES} bytes, not ${size}`, {
      limit: 'max_record_bytes',
      limitValue: MAX_RECORD_BYTES,
      value: size,
    })
  }
  // A copy: the caller's buffer may change while the signature is verified, and may be far larger than the record.
  const bytes = Uint8Array.from(signed.record)
  const record = parse(bytes)
  checkShape(record, limitsOf(expect))
  return { record, signed: create(SignedRecordSchema, { record: bytes, signature: Uint8Array.from(signed.signature) }) }
}

/** What is checked after the signature: the statements of the record. */
function checkContent(read: ReadRecord, expect: RecordExpectations): VerifiedRecord {
  checkExpectations(read.record, expect)
  return { ...read, expiresAtMs: checkTimes(read.record, expect.nowMs, limitsOf(expect).clockSkewMs) }
}

function limitsOf(expect: RecordExpectations): Limits {
  return { ...DEFAULT_LIMITS, ...expect.limits }
}

/**
 * How a verified record relates to the newest one held for the same topic and peer (a tombstone counts):
 * `newer` replaces it, `same` is it again, `stale` is older (RECORD_STALE), `equivocation` has the same seq and other
 * bytes (RECORD_EQUIVOCATION: neither may be served).
 */
export function decideRecord(
  current: VerifiedRecord | undefined,
  next: VerifiedRecord,
): 'newer' | 'same' | 'stale' | 'equivocation' {
  if (current === undefined || next.record.seq > current.record.seq) return 'newer'
  if (next.record.seq < current.record.seq) return 'stale'
  return equalBytes(current.signed.record, next.signed.record) ? 'same' : 'equivocation'
}

/**
 * The seq of a peer's next record: above the previous one, and at least Unix milliseconds times 1024, so that a
 * restarted peer rises without having stored anything. Pass 0n when there is no previous one.
 */
export function nextSeq(previous: bigint, wallMs: number): bigint {
  const fromClock = BigInt(Math.floor(wallMs)) * 1_024n
  return fromClock > previous ? fromClock : previous + 1n
}

function parse(bytes: Uint8Array): MembershipRecord {
  try {
    return fromBinary(MembershipRecordSchema, bytes)
  } catch (cause) {
    throw new MeshError(ErrorReason.RECORD_MALFORMED, 'The record is not a protobuf message', { cause })
  }
}

function checkShape(record: MembershipRecord, limits: Limits): void {
  refuseUnless(record.version === 1, ErrorReason.RECORD_VERSION, 'version', record.version)
  const unknown = record.critical.find((number) => !KNOWN_FIELDS.has(number))
  refuseUnless(unknown === undefined, ErrorReason.RECORD_CRITICAL, 'critical field', unknown)
  const { JOIN, LEAVE } = MembershipKind
  refuseUnless(record.kind === JOIN || record.kind === LEAVE, ErrorReason.RECORD_KIND, 'kind', record.kind)
  refuseUnless(record.topic.length === 32 && !isAllZero(record.topic), ErrorReason.RECORD_TOPIC, 'topic')
  refuseUnless(record.peerKey.length === 32, ErrorReason.RECORD_PEER, 'peer_key', record.peerKey.length)
  refuseUnless(record.sessionId.length === 16, ErrorReason.RECORD_SESSION, 'session_id', record.sessionId.length)
  refuseUnless(record.sessionOrder >= 1n, ErrorReason.RECORD_SESSION, 'session_order')
  refuseUnless(record.seq >= 1n, ErrorReason.RECORD_SEQ, 'seq', record.seq)
  const ttlFits = record.ttlMs >= limits.minRecordTtlMs && record.ttlMs <= limits.maxRecordTtlMs
  refuseUnless(ttlFits, ErrorReason.RECORD_TTL, 'ttl_ms', record.ttlMs)
  refuseUnless(x25519KeyFault(record.sessionKey) === undefined, ErrorReason.RECORD_SESSION_KEY, 'session_key')
  refuseUnless(record.homeKey.length === 32, ErrorReason.RECORD_HOME, 'home_key', record.homeKey.length)
  const stateBytes = record.state.length
  refuseUnless(stateBytes <= limits.maxStateBytes, ErrorReason.RECORD_STATE, 'state (bytes)', stateBytes)
}

function checkExpectations(record: MembershipRecord, expect: RecordExpectations): void {
  const matches = (actual: Uint8Array, expected: Uint8Array | undefined): boolean =>
    expected === undefined || equalBytes(actual, expected)
  refuseUnless(matches(record.topic, expect.topic), ErrorReason.RECORD_TOPIC, 'topic is another one')
  refuseUnless(matches(record.peerKey, expect.peerKey), ErrorReason.RECORD_PEER, 'peer_key is another one')
  refuseUnless(matches(record.homeKey, expect.homeKey), ErrorReason.RECORD_HOME, 'home_key is another one')
  refuseUnless(matches(record.sessionId, expect.sessionId), ErrorReason.RECORD_SESSION, 'session_id is another one')
  const kindFits = expect.kind === undefined || record.kind === expect.kind
  refuseUnless(kindFits, ErrorReason.RECORD_KIND, 'kind', record.kind)
}

/** Returns when the record ends. Compared as bigint: issued_at_ms may be any 64 bit number. */
function checkTimes(record: MembershipRecord, nowMs: number, clockSkewMs: number): number {
  const now = BigInt(Math.floor(nowMs))
  const skew = BigInt(clockSkewMs)
  const futureFits = record.issuedAtMs <= now + skew
  refuseUnless(futureFits, ErrorReason.RECORD_FUTURE, 'issued_at_ms lies in the future', record.issuedAtMs)
  const expiresAtMs = record.issuedAtMs + BigInt(record.ttlMs) + skew
  refuseUnless(now < expiresAtMs, ErrorReason.RECORD_EXPIRED, 'ttl ran out, at', expiresAtMs)
  return Number(expiresAtMs)
}

function refuseUnless(holds: boolean, reason: ErrorReason, what: string, value?: number | bigint): asserts holds {
  if (holds) return
  const found = value === undefined ? '' : ` (${value})`
  throw new MeshError(reason, `The record is refused: ${what}${found}`, value === undefined ? {} : { value })
}
