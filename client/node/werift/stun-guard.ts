import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * STUN messages (RFC 8489) read strictly, before werift parses them.
 *
 * werift answers binding requests without looking at MESSAGE-INTEGRITY, and believes attributes that stand behind it and that
 * it therefore does not cover. Here a message is either proved, whole, with the password of this connection, or dropped.
 */
export interface StunHeader {
  readonly kind: 'request' | 'indication' | 'response' | 'error'
  readonly method: number
  /** Hexadecimal. */
  readonly transactionId: string
  readonly username: string | undefined
  /** Where MESSAGE-INTEGRITY begins; undefined when there is none. */
  readonly integrityAt: number | undefined
  /** Types of the attributes before MESSAGE-INTEGRITY, with the length of each value. */
  readonly attributes: ReadonlyMap<number, number>
  /** Of an error response. */
  readonly errorCode: number | undefined
}

export const BINDING = 1
export const PRIORITY = 0x0024
export const ICE_CONTROLLED = 0x8029
export const ICE_CONTROLLING = 0x802a

const HEADER_BYTES = 20
const MAGIC_COOKIE = 0x2112_a442
const USERNAME = 0x0006
const MESSAGE_INTEGRITY = 0x0008
const ERROR_CODE = 0x0009
const FINGERPRINT = 0x8028
const INTEGRITY_BYTES = 20
/** ICE checks are about 100 bytes, TURN data indications carry one datagram. */
const MAX_STUN_BYTES = 2048
const KINDS = ['request', 'indication', 'response', 'error'] as const

/** Reads a message. Undefined when any part of it is malformed, or an attribute other than FINGERPRINT follows the integrity. */
export function readStun(data: Buffer): StunHeader | undefined {
  if (data.length < HEADER_BYTES || data.length > MAX_STUN_BYTES || data.length % 4 !== 0) return undefined
  const type = data.readUInt16BE(0)
  if (type >= 0x4000 || data.readUInt16BE(2) !== data.length - HEADER_BYTES) return undefined
  if (data.readUInt32BE(4) !== MAGIC_COOKIE) return undefined
  const attributes = new Map<number, number>()
  let integrityAt: number | undefined
  let username: string | undefined
  let errorCode: number | undefined
  for (let at = HEADER_BYTES; at < data.length; ) {
    const attribute = data.readUInt16BE(at)
    const length = data.readUInt16BE(at + 2)
    const value = at + 4
    const end = value + length + ((4 - (length % 4)) % 4)
    if (end > data.length) return undefined
    if (integrityAt !== undefined && attribute !== FINGERPRINT) return undefined
    if (attribute === MESSAGE_INTEGRITY) {
      if (length !== INTEGRITY_BYTES) return undefined
      integrityAt = at
    } else if (attribute === FINGERPRINT) {
      if (length !== 4 || end !== data.length) return undefined
    } else {
      if (attributes.has(attribute)) return undefined
      attributes.set(attribute, length)
      if (attribute === USERNAME) username = data.toString('utf8', value, value + length)
      if (attribute === ERROR_CODE && length >= 4) errorCode = (data[value + 2]! & 7) * 100 + data[value + 3]!
    }
    at = end
  }
  return {
    kind: KINDS[((type >> 7) & 2) | ((type >> 4) & 1)]!,
    method: (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2),
    transactionId: data.toString('hex', 8, HEADER_BYTES),
    username,
    integrityAt,
    attributes,
    errorCode,
  }
}

/** Whether MESSAGE-INTEGRITY is there and proves the message under this key (RFC 8489 section 14.5). */
export function hasIntegrity(data: Buffer, header: StunHeader, key: Buffer): boolean {
  const at = header.integrityAt
  if (at === undefined) return false
  const covered = Buffer.from(data.subarray(0, at))
  // The length as it was when the attribute was computed: up to and including the attribute itself.
  covered.writeUInt16BE(at - HEADER_BYTES + 4 + INTEGRITY_BYTES, 2)
  const expected = createHmac('sha1', key).update(covered).digest()
  return timingSafeEqual(expected, data.subarray(at + 4, at + 4 + INTEGRITY_BYTES))
}

/** Whether a binding request has the attributes every connectivity check has (RFC 8445 section 7.1). */
export function isConnectivityCheck(header: StunHeader): boolean {
  const { attributes } = header
  const controlling = attributes.get(ICE_CONTROLLING) === 8
  const controlled = attributes.get(ICE_CONTROLLED) === 8
  return (
    header.kind === 'request' &&
    header.method === BINDING &&
    attributes.get(PRIORITY) === 4 &&
    controlling !== controlled &&
    header.username !== undefined
  )
}
