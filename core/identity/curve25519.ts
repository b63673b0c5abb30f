import { isAllZero } from '../bytes.ts'

/**
 * Encodings on Curve25519 that MESH refuses before any native code sees them. Runtimes disagree on non-canonical and
 * small-order points, so they are ruled out here, the same everywhere.
 */

/** The field's prime. */
const P = 2n ** 255n - 19n

/** Order of the prime subgroup (RFC 8032 §5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n

/** y of two of the four points of order 8; the other two have P - y. */
const ED25519_ORDER_8_Y = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n

/** u of the points of order 8 on the Montgomery curve, from the same y: u = (1 + y) / (1 - y). */
const X25519_ORDER_8_U: readonly bigint[] = [
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
]

const ED25519_SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([0n, 1n, P - 1n, ED25519_ORDER_8_Y, P - ED25519_ORDER_8_Y])
const X25519_SMALL_ORDER_U: ReadonlySet<bigint> = new Set([0n, 1n, P - 1n, ...X25519_ORDER_8_U])

const SIGN_BIT = 2n ** 255n

/** What is wrong with an encoded point, for people; undefined when nothing is. */
export type PointFault = 'length' | 'non-canonical' | 'small order' | undefined

/** Checks an encoded Ed25519 point (RFC 8032 §5.1.2): 32 bytes, y < p, not of small order. */
export function ed25519PointFault(encoded: Uint8Array): PointFault {
  if (encoded.length !== 32) return 'length'
  const y = littleEndian(encoded) % SIGN_BIT
  if (y >= P) return 'non-canonical'
  return ED25519_SMALL_ORDER_Y.has(y) ? 'small order' : undefined
}

/** Whether the 32 bytes are a scalar below the group order (RFC 8032 §5.1.7 step 1). */
export function isCanonicalScalar(encoded: Uint8Array): boolean {
  return encoded.length === 32 && littleEndian(encoded) < L
}

/**
 * Checks an X25519 public key (RFC 7748 §5): 32 bytes, u < p, not of small order. Stricter than the RFC, which masks
 * the top bit and reduces: one key has one encoding here.
 */
export function x25519KeyFault(encoded: Uint8Array): PointFault {
  if (encoded.length !== 32) return 'length'
  if (isAllZero(encoded)) return 'small order'
  const u = littleEndian(encoded)
  if (u >= P) return 'non-canonical'
  return X25519_SMALL_ORDER_U.has(u) ? 'small order' : undefined
}

function littleEndian(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32)
  let value = 0n
  for (let word = 3; word >= 0; word--) value = (value << 64n) | view.getBigUint64(word * 8, true)
  return value
}
