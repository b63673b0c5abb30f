import { ErrorReason, MeshError } from './error.ts'

/** Whether both hold the same bytes. Stops at the first difference: not for secrets (verify MACs with WebCrypto). */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Bytewise order, shorter first among equal prefixes: the order of peer keys everywhere in the protocol. */
export function compareBytes(a: Uint8Array, b: Uint8Array): -1 | 0 | 1 {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const left = a[i] as number
    const right = b[i] as number
    if (left !== right) return left < right ? -1 : 1
  }
  return a.length === b.length ? 0 : a.length < b.length ? -1 : 1
}

/** A new array with all parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/** Whether every byte is zero (true for no bytes). */
export function isAllZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/**
 * Bytes of hexadecimal text, either case.
 * @throws MeshError INVALID_ARGUMENT for an odd length or any other character
 */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0) throw invalid(`Hexadecimal text has an odd length (${text.length})`)
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < text.length; i++) {
    const digit = '0123456789abcdef'.indexOf((text[i] as string).toLowerCase())
    if (digit < 0) throw invalid(`Character ${i + 1} of the hexadecimal text is not a digit`)
    bytes[i >> 1] = ((bytes[i >> 1] as number) << 4) | digit
  }
  return bytes
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Base64url without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i
    const group = ((bytes[i] as number) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    text += BASE64URL[group >> 18] as string
    text += BASE64URL[(group >> 12) & 63] as string
    if (left > 1) text += BASE64URL[(group >> 6) & 63] as string
    if (left > 2) text += BASE64URL[group & 63] as string
  }
  return text
}

/**
 * Bytes of unpadded base64url text. Strict: each byte string has exactly one accepted spelling, so a token cannot be
 * varied without being noticed.
 * @throws MeshError INVALID_ARGUMENT for padding, another alphabet, an impossible length or non-zero trailing bits
 */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 4 === 1) throw invalid(`No base64url text has ${text.length} characters`)
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let bits = 0
  let held = 0
  let offset = 0
  for (let i = 0; i < text.length; i++) {
    const digit = BASE64URL.indexOf(text[i] as string)
    if (digit < 0) throw invalid(`Character ${i + 1} is not in the base64url alphabet`)
    bits = ((bits << 6) | digit) & 0xffff
    held += 6
    if (held >= 8) {
      held -= 8
      bytes[offset++] = (bits >> held) & 0xff
    }
  }
  if ((bits & ((1 << held) - 1)) !== 0) throw invalid('The base64url text is not canonical: trailing bits are set')
  return bytes
}

/** UTF-8 bytes of the text. */
export function utf8Encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

/**
 * Text of UTF-8 bytes; a byte order mark is kept.
 * @throws MeshError INVALID_ARGUMENT when the bytes are not well-formed UTF-8
 */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'The bytes are not UTF-8', { cause })
  }
}

/** The value as 8 bytes, most significant first. */
export function u64be(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

/**
 * The bytes as WebCrypto takes them. Copies only what lies in shared memory, which WebCrypto refuses because it could
 * change while it is read.
 */
export function forWebCrypto(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes)
}

function invalid(message: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, message)
}
