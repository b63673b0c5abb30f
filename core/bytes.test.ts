import { describe, expect, it } from 'vitest'
import {
  compareBytes,
  concatBytes,
  equalBytes,
  forWebCrypto,
  fromBase64Url,
  fromHex,
  isAllZero,
  toBase64Url,
  toHex,
  utf8Decode,
  utf8Encode,
} from './bytes.ts'
import { seededRandom } from './random.ts'
import { expectRefusal } from './testing/refusal.fixture.ts'

describe('bytes', () => {
  it('compare bytewise, and by length among equal prefixes', () => {
    const order = [[], [0], [0, 0], [0, 255], [1], [128], [255]].map((bytes) => Uint8Array.from(bytes))
    for (const [i, a] of order.entries()) {
      for (const [j, b] of order.entries()) {
        expect(compareBytes(a, b)).toBe(Math.sign(i - j))
        expect(equalBytes(a, b)).toBe(i === j)
      }
    }
  })

  it('concatenate in order when some parts are empty', () => {
    expect([...concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))]).toEqual([1, 2, 3])
  })

  it('tell all zero from not', () => {
    expect(isAllZero(new Uint8Array(32))).toBe(true)
    expect(isAllZero(Uint8Array.of(0, 0, 1))).toBe(false)
  })

  it('become a plain copy for WebCrypto when they lie in shared memory', () => {
    const plain = Uint8Array.of(1, 2)
    expect(forWebCrypto(plain)).toBe(plain)
    const shared = new Uint8Array(new SharedArrayBuffer(2))
    shared.set([3, 4])
    expect(forWebCrypto(shared).buffer).toBeInstanceOf(ArrayBuffer)
    expect([...forWebCrypto(shared)]).toEqual([3, 4])
  })
})

describe('hexadecimal', () => {
  it('survives a round trip', () => {
    const bytes = seededRandom(1).bytes(64)
    expect(fromHex(toHex(bytes))).toEqual(bytes)
    expect([...fromHex('00fFa0')]).toEqual([0, 255, 160])
  })

  it.each(['0', '0g', ' 0', '0x'])('is refused when it is %j', async (text) => {
    await expectRefusal(() => fromHex(text), 'INVALID_ARGUMENT')
  })
})

describe('base64url', () => {
  it('agrees with the platform and survives a round trip at every length', () => {
    const random = seededRandom(2)
    for (let length = 0; length < 70; length++) {
      const bytes = random.bytes(length)
      const expected = btoa(String.fromCharCode(...bytes))
        .replaceAll('+', '-')
        .replaceAll('/', '_')
        .replaceAll('=', '')
      expect(toBase64Url(bytes)).toBe(expected)
      expect(fromBase64Url(expected)).toEqual(bytes)
    }
  })

  it.each([
    ['padding', 'AA=='],
    ['the other alphabet', '+/+/'],
    ['white space', 'AA A'],
    ['an impossible length', 'AAAAA'],
    ['trailing bits after one byte', 'AB'],
    ['trailing bits after two bytes', 'AAB'],
    ['letters outside ASCII', 'AAA\u{1d400}'],
  ])('is refused when it has %s', async (_, text) => {
    await expectRefusal(() => fromBase64Url(text), 'INVALID_ARGUMENT')
  })
})

describe('UTF-8', () => {
  it('survives a round trip, byte order mark included', () => {
    expect(utf8Decode(utf8Encode('\ufeffgrüß 🦔'))).toBe('\ufeffgrüß 🦔')
  })

  it.each([
    ['cut off', [0xc3]],
    ['overlong', [0xc0, 0x80]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
  ])('is refused when it is %s', async (_, bytes) => {
    await expectRefusal(() => utf8Decode(Uint8Array.from(bytes)), 'INVALID_ARGUMENT')
  })
})
