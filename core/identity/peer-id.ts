import { ErrorReason, MeshError } from '../error.ts'
import { ed25519PointFault } from './curve25519.ts'

/**
 * Peer ids: an Ed25519 public key as Bech32m text (BIP 350) with the human-readable part "mesh".
 *
 *     "mesh1" + 52 characters of key + 6 characters of checksum = 63 characters, always lower case
 *
 * The alphabet has no "b", "i", "o" or "1"; the checksum finds every mistake in up to four characters.
 */

const PREFIX = 'mesh1'
const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const KEY_CHARACTERS = 52
const CHECKSUM_CHARACTERS = 6
const ID_CHARACTERS = PREFIX.length + KEY_CHARACTERS + CHECKSUM_CHARACTERS
const GENERATORS: readonly number[] = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]
const BECH32M = 0x2bc830a3

/** The human-readable part "mesh" as the checksum takes it: high bits, a zero, low bits. */
const PREFIX_VALUES: readonly number[] = [...'mesh']
  .map((letter) => letter.charCodeAt(0) >> 5)
  .concat(0, ...[...'mesh'].map((letter) => letter.charCodeAt(0) & 31))

/**
 * The text form of a peer's public key.
 * @throws MeshError PEER_ID_INVALID when the key has not 32 bytes
 */
export function formatPeerId(publicKey: Uint8Array): string {
  if (publicKey.length !== 32) throw invalid(`A peer's key has 32 bytes, not ${publicKey.length}`)
  const values = toFiveBits(publicKey)
  const check = polymod([...values, 0, 0, 0, 0, 0, 0]) ^ BECH32M
  for (let i = 0; i < CHECKSUM_CHARACTERS; i++) values.push((check >> (5 * (5 - i))) & 31)
  return PREFIX + values.map((value) => ALPHABET[value]).join('')
}

/**
 * The 32 byte public key of a peer id.
 * @throws MeshError PEER_ID_INVALID saying what is wrong: prefix, length, a character and its position, the checksum
 * (with the position of a single mistyped character), or a key that no peer can have
 */
export function parsePeerId(text: string): Uint8Array<ArrayBuffer> {
  if (!text.startsWith(PREFIX)) {
    throw invalid(`A peer id starts with "${PREFIX}"; this starts with "${text.slice(0, PREFIX.length)}"`)
  }
  const values: number[] = []
  for (let i = PREFIX.length; i < Math.min(text.length, ID_CHARACTERS); i++) {
    const value = ALPHABET.indexOf(text[i] as string)
    if (value < 0) throw invalid(`Character ${i + 1} ("${text[i]}") does not occur in peer ids`)
    values.push(value)
  }
  if (text.length !== ID_CHARACTERS) {
    throw invalid(`A peer id has ${ID_CHARACTERS} characters; this has ${text.length}`, text.length)
  }
  if (polymod(values) !== BECH32M) throw invalid(`The checksum does not match${whereMistyped(values)}`)
  const key = fromFiveBits(values.slice(0, KEY_CHARACTERS))
  if (key === undefined) throw invalid('The peer id is not canonical: its spare bits are set')
  const fault = ed25519PointFault(key)
  if (fault !== undefined) throw invalid(`The peer id names a key that no peer can have (${fault})`)
  return key
}

/**
 * Points at a single mistyped character. A hint only: never corrected silently, since two mistakes can look so too.
 * The code is linear, so one changed value alone moves the remainder by its own remainder, whatever the other values.
 */
function whereMistyped(values: readonly number[]): string {
  const moved = polymod(values) ^ BECH32M
  for (let change = 1; change < 32; change++) {
    let remainder = change
    for (let i = values.length - 1; i >= 0; i--) {
      if (remainder === moved) return `: character ${PREFIX.length + i + 1} is probably mistyped`
      remainder = polymodStep(remainder, 0)
    }
  }
  return ': more than one character is wrong'
}

/** The BCH code of BIP 173 over the prefix and the values. */
function polymod(values: readonly number[]): number {
  return values.reduce(polymodStep, PREFIX_VALUES.reduce(polymodStep, 1))
}

function polymodStep(check: number, value: number): number {
  const top = check >>> 25
  let next = ((check & 0x1ffffff) << 5) ^ value
  for (let i = 0; i < 5; i++) if ((top >>> i) & 1) next ^= GENERATORS[i] as number
  return next
}

/** 32 bytes as 52 groups of five bits, most significant first, the last padded with four zero bits. */
function toFiveBits(bytes: Uint8Array): number[] {
  const values: number[] = []
  let bits = 0
  let held = 0
  for (const byte of bytes) {
    bits = ((bits << 8) | byte) & 0xfff
    for (held += 8; held >= 5; held -= 5) values.push((bits >> (held - 5)) & 31)
  }
  values.push((bits << (5 - held)) & 31)
  return values
}

/** Undoes `toFiveBits`; undefined when the padding is not zero. */
function fromFiveBits(values: readonly number[]): Uint8Array<ArrayBuffer> | undefined {
  const bytes = new Uint8Array(32)
  let bits = 0
  let held = 0
  let offset = 0
  for (const value of values) {
    bits = ((bits << 5) | value) & 0xfff
    held += 5
    if (held >= 8) {
      held -= 8
      bytes[offset++] = (bits >> held) & 0xff
    }
  }
  return (bits & ((1 << held) - 1)) === 0 ? bytes : undefined
}

function invalid(message: string, value?: number): MeshError {
  return new MeshError(ErrorReason.PEER_ID_INVALID, message, value === undefined ? {} : { value })
}
