import { randomFillSync } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import { RowSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { MembershipKind, MembershipRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'

const KEY_BYTES = 32
const SESSION_BYTES = 16
const SIGNATURE_BYTES = 64

/** Members of one topic: a party of a size that people have. */
export const ROWS_PER_TOPIC = 10

/** A serialised `Row`, and what its parts are, as views. */
export interface SyntheticRow {
  readonly bytes: Buffer
  readonly record: Buffer
  readonly signature: Buffer
}

/**
 * Writes serialised rows by the million. One row is encoded by protobuf-es and then copied; its topic, keys and ids, which have
 * fixed lengths, are overwritten in place. The signature is random: a server verifies a row when it is first served, and these never are.
 */
export class RowTemplate {
  readonly #bytes: Buffer
  readonly #offsets: Readonly<
    Record<'topic' | 'peerKey' | 'signature' | 'record' | 'sessionId' | 'sessionKey', number[]>
  >
  readonly #recordBytes: number
  #topic = Buffer.alloc(KEY_BYTES)

  constructor(homeKey: Uint8Array, nowMs: number) {
    const marks = {
      topic: marker(KEY_BYTES, 1),
      peerKey: marker(KEY_BYTES, 2),
      sessionId: marker(SESSION_BYTES, 3),
      sessionKey: marker(KEY_BYTES, 4),
      signature: marker(SIGNATURE_BYTES, 5),
    }
    const { topic, peerKey, sessionId, sessionKey, signature } = marks
    const sessionOrder = BigInt(nowMs) << 20n
    const record = toBinary(
      MembershipRecordSchema,
      create(MembershipRecordSchema, {
        version: 1,
        kind: MembershipKind.JOIN,
        topic,
        peerKey,
        sessionId,
        seq: BigInt(nowMs) * 1_024n,
        issuedAtMs: BigInt(nowMs),
        ttlMs: 900_000,
        sessionKey,
        homeKey,
        sessionOrder,
      }),
    )
    const row = create(RowSchema, { topic, peerKey, sessionOrder, record: { record, signature } })
    this.#bytes = Buffer.from(toBinary(RowSchema, row))
    this.#recordBytes = record.length
    this.#offsets = {
      topic: placesOf(this.#bytes, topic),
      peerKey: placesOf(this.#bytes, peerKey),
      sessionId: placesOf(this.#bytes, sessionId),
      sessionKey: placesOf(this.#bytes, sessionKey),
      signature: placesOf(this.#bytes, signature),
      record: placesOf(this.#bytes, Buffer.from(record)),
    }
  }

  /** Bytes of every row. */
  get rowBytes(): number {
    return this.#bytes.length
  }

  /** Writes row number `index` at `at`; every ROWS_PER_TOPIC rows share a topic. */
  write(target: Buffer, at: number, index: number): SyntheticRow {
    const bytes = target.subarray(at, at + this.#bytes.length)
    bytes.set(this.#bytes)
    if (index % ROWS_PER_TOPIC === 0) this.#topic = randomFillSync(Buffer.alloc(KEY_BYTES))
    const { topic, peerKey, sessionId, sessionKey, signature, record } = this.#offsets
    for (const place of topic) bytes.set(this.#topic, place)
    const fresh = randomFillSync(Buffer.allocUnsafe(KEY_BYTES))
    for (const place of peerKey) bytes.set(fresh, place)
    randomFillSync(bytes, sessionId[0]!, SESSION_BYTES)
    randomFillSync(bytes, sessionKey[0]!, KEY_BYTES)
    // The top bit of an X25519 key is not used (RFC 7748 §5), and readers refuse it.
    const last = sessionKey[0]! + KEY_BYTES - 1
    bytes[last] = bytes[last]! & 0x7f
    randomFillSync(bytes, signature[0]!, SIGNATURE_BYTES)
    const recordAt = record[0]!
    const signatureAt = signature[0]!
    return {
      bytes,
      record: bytes.subarray(recordAt, recordAt + this.#recordBytes),
      signature: bytes.subarray(signatureAt, signatureAt + SIGNATURE_BYTES),
    }
  }
}

function marker(length: number, value: number): Buffer {
  return Buffer.alloc(length, 0xe0 + value)
}

function placesOf(bytes: Buffer, part: Buffer): number[] {
  const places: number[] = []
  for (let at = bytes.indexOf(part); at >= 0; at = bytes.indexOf(part, at + 1)) places.push(at)
  return places
}
