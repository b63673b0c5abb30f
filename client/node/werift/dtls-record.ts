import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'

/**
 * DTLS 1.2 records (RFC 6347 section 4.1) with AES-128-GCM (RFC 5288), in place of werift's record layer.
 *
 * werift's has no replay window; believes unencrypted alerts; builds a key object for every packet; and starts its sequence
 * numbers over after the Finished message, so that one nonce is used twice. Here every encrypted record gets its number, and
 * with it its nonce, from one counter that only rises.
 */
export const RECORD_CHANGE_CIPHER_SPEC = 20
export const RECORD_ALERT = 21
export const RECORD_HANDSHAKE = 22
export const RECORD_APPLICATION_DATA = 23

export interface DtlsRecord {
  readonly type: number
  readonly epoch: number
  /** 48 bits. */
  readonly sequence: number
  readonly header: Buffer
  readonly fragment: Buffer
}

const HEADER_BYTES = 13
const EXPLICIT_NONCE_BYTES = 8
const TAG_BYTES = 16

/** A flight is at most a dozen records; application data is one record per datagram. */
const MAX_RECORDS_PER_DATAGRAM = 16

/**
 * The records of one datagram: those before the first malformed one. A record of another version or an unknown type is
 * malformed; the client's first flight may say DTLS 1.0 (RFC 6347 section 4.2.1).
 */
export function parseRecords(datagram: Buffer): DtlsRecord[] {
  const records: DtlsRecord[] = []
  let position = 0
  while (datagram.length - position >= HEADER_BYTES && records.length < MAX_RECORDS_PER_DATAGRAM) {
    const type = datagram[position]!
    const minor = datagram[position + 2]!
    const length = datagram.readUInt16BE(position + 11)
    const end = position + HEADER_BYTES + length
    const known = type >= RECORD_CHANGE_CIPHER_SPEC && type <= RECORD_APPLICATION_DATA
    if (!known || datagram[position + 1] !== 0xfe || (minor !== 0xfd && minor !== 0xff) || end > datagram.length) break
    records.push({
      type,
      epoch: datagram.readUInt16BE(position + 3),
      sequence: datagram.readUIntBE(position + 5, 6),
      header: datagram.subarray(position, position + HEADER_BYTES),
      fragment: datagram.subarray(position + HEADER_BYTES, end),
    })
    position = end
  }
  return records
}

/** Encrypts records of epoch 1. One per connection and direction. */
export class RecordSealer {
  readonly #key: KeyObject
  readonly #iv = Buffer.alloc(12)
  #next = 0

  constructor(key: Buffer, salt: Buffer) {
    this.#key = createSecretKey(key)
    salt.copy(this.#iv, 0, 0, 4)
  }

  /** A whole record, header included, ready to be sent. Uses up one sequence number. */
  seal(type: number, plaintext: Uint8Array): Buffer {
    const sequence = this.#next
    // The limit of the field; at 10,000 packets a second it is 890 years away.
    if (sequence >= 2 ** 48 - 1) throw new RangeError('DTLS sequence numbers are used up')
    this.#next += 1
    const record = Buffer.allocUnsafe(HEADER_BYTES + EXPLICIT_NONCE_BYTES + plaintext.length + TAG_BYTES)
    record[0] = type
    record.writeUInt16BE(0xfefd, 1)
    record.writeUInt16BE(1, 3)
    record.writeUIntBE(sequence, 5, 6)
    record.writeUInt16BE(EXPLICIT_NONCE_BYTES + plaintext.length + TAG_BYTES, 11)
    // The explicit nonce is epoch and sequence number, which the header holds in the same form.
    record.copy(record, HEADER_BYTES, 3, 11)
    record.copy(this.#iv, 4, 3, 11)
    const cipher = createCipheriv('aes-128-gcm', this.#key, this.#iv)
    cipher.setAAD(associatedData(record, plaintext.length))
    cipher.update(plaintext).copy(record, HEADER_BYTES + EXPLICIT_NONCE_BYTES)
    cipher.final()
    cipher.getAuthTag().copy(record, record.length - TAG_BYTES)
    return record
  }
}

/** Decrypts records of epoch 1. One per connection and direction. */
export class RecordOpener {
  readonly #key: KeyObject
  readonly #iv = Buffer.alloc(12)

  constructor(key: Buffer, salt: Buffer) {
    this.#key = createSecretKey(key)
    salt.copy(this.#iv, 0, 0, 4)
  }

  /** The plaintext, or undefined when the record is not authentic. */
  open(record: DtlsRecord): Buffer | undefined {
    const { fragment } = record
    const length = fragment.length - EXPLICIT_NONCE_BYTES - TAG_BYTES
    if (length < 0) return undefined
    fragment.copy(this.#iv, 4, 0, EXPLICIT_NONCE_BYTES)
    const decipher = createDecipheriv('aes-128-gcm', this.#key, this.#iv, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(fragment.subarray(fragment.length - TAG_BYTES))
    decipher.setAAD(associatedData(record.header, length))
    const plaintext = decipher.update(fragment.subarray(EXPLICIT_NONCE_BYTES, EXPLICIT_NONCE_BYTES + length))
    try {
      decipher.final()
    } catch {
      // Not authentic: forged, damaged, or of another connection. RFC 6347 section 4.1.2.7: discard silently.
      return undefined
    }
    return plaintext
  }
}

/** RFC 5246 section 6.2.3.3: sequence number, type, version, length of the plaintext. */
function associatedData(header: Buffer, length: number): Buffer {
  const data = Buffer.allocUnsafe(13)
  header.copy(data, 0, 3, 11)
  header.copy(data, 8, 0, 3)
  data.writeUInt16BE(length, 11)
  return data
}

/** Which sequence numbers were seen, for the newest 1,024 of them (RFC 6347 section 4.1.2.6). */
export class ReplayWindow {
  readonly #seen = new Uint8Array(WINDOW_RECORDS)
  #highest = -1

  /** True when the number is new and inside the window or above it. */
  isNew(sequence: number): boolean {
    if (sequence > this.#highest) return true
    return this.#highest - sequence < WINDOW_RECORDS && this.#seen[sequence % WINDOW_RECORDS] === 0
  }

  /** To be called once the record has proved authentic. */
  accept(sequence: number): void {
    if (sequence > this.#highest) {
      const passed = Math.min(sequence - this.#highest, WINDOW_RECORDS)
      for (let back = 0; back < passed; back += 1) this.#seen[(sequence - back) % WINDOW_RECORDS] = 0
      this.#highest = sequence
    }
    this.#seen[sequence % WINDOW_RECORDS] = 1
  }
}

/** 1,024 records: one second of 1.2 MB/s out of order. */
const WINDOW_RECORDS = 1024
