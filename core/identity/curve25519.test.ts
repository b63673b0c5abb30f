import { describe, expect, it } from 'vitest'
import { fromHex } from '../bytes.ts'
import { ed25519PointFault, isCanonicalScalar, x25519KeyFault } from './curve25519.ts'

const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n

/** The value as 32 bytes, least significant first. */
function encode(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, '0')).reverse()
}

/** a^e mod p. */
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let square = base % P; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}

const invert = (value: bigint): bigint => power(((value % P) + P) % P, P - 2n)

/** u of twice the point, on the Montgomery curve with A = 486662 (RFC 7748 §4.1); undefined for infinity. */
function doubleU(u: bigint): bigint | undefined {
  const square = (u * u) % P
  const denominator = (4n * u * (square + 486662n * u + 1n)) % P
  if (denominator === 0n) return undefined
  return ((square - 1n + P) ** 2n * invert(denominator)) % P
}

describe('X25519 keys', () => {
  // Each is checked against the curve below, not only listed.
  const smallOrder = [
    0n,
    1n,
    325606250916557431795983626356110631294008115727848805560023387167927233504n,
    39382357235489614581723060781553021112529911719440698176882885853963445705823n,
    P - 1n,
  ]

  it.each(smallOrder)('%i is of small order on the curve or its twist, and refused', (u) => {
    expect(x25519KeyFault(encode(u))).toBe('small order')
    let point: bigint | undefined = u
    for (let doublings = 0; point !== undefined && doublings < 4; doublings++) point = doubleU(point)
    expect(point).toBeUndefined()
  })

  it.each([
    ['p', P],
    ['p + 1', P + 1n],
    ['2^255 - 1', 2n ** 255n - 1n],
    ['the base point with the top bit set', 2n ** 255n + 9n],
  ])('%s is not canonical, and refused', (_, value) => {
    expect(x25519KeyFault(encode(value))).toBe('non-canonical')
  })

  it('are accepted when ordinary, and refused at another length', () => {
    expect(x25519KeyFault(encode(9n))).toBeUndefined()
    expect(x25519KeyFault(encode(P - 2n))).toBeUndefined()
    expect(x25519KeyFault(encode(9n).subarray(1))).toBe('length')
    expect(x25519KeyFault(new Uint8Array())).toBe('length')
  })

  it('are read at their place when they are a view into a larger buffer', () => {
    const buffer = new Uint8Array(64).fill(0)
    buffer[32] = 9
    expect(x25519KeyFault(buffer.subarray(32))).toBeUndefined()
    expect(x25519KeyFault(buffer.subarray(0, 32))).toBe('small order')
  })
})

describe('Ed25519 points', () => {
  it('of order 8 have the y that the curve gives them', () => {
    // Points of order 8 double to points of order 4, which have y = 0: on the Edwards curve y(2P) = 0 exactly when
    // x^2 = -y^2 (RFC 8032 §5.1.4), so with the curve equation -x^2 + y^2 = 1 + d x^2 y^2: 2 y^2 = 1 - d y^4.
    const d = (P - ((121665n * invert(121666n)) % P)) % P
    for (const hex of [
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    ]) {
      const y = BigInt(`0x${hex.match(/../g)?.reverse().join('')}`)
      expect((2n * y * y + d * power(y, 4n)) % P).toBe(1n)
      expect(ed25519PointFault(fromHex(hex))).toBe('small order')
    }
  })

  it('are accepted when ordinary', () => {
    expect(ed25519PointFault(encode(4n))).toBeUndefined()
    expect(ed25519PointFault(encode(2n ** 255n + 4n))).toBeUndefined()
    expect(ed25519PointFault(encode(P - 2n))).toBeUndefined()
  })
})

describe('Ed25519 scalars', () => {
  it('are canonical when below the group order', () => {
    expect(isCanonicalScalar(encode(0n))).toBe(true)
    expect(isCanonicalScalar(encode(L - 1n))).toBe(true)
    expect(isCanonicalScalar(encode(L))).toBe(false)
    expect(isCanonicalScalar(encode(2n ** 256n - 1n))).toBe(false)
    expect(isCanonicalScalar(encode(0n).subarray(1))).toBe(false)
  })
})
