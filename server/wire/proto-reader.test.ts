import { describe, expect, test } from 'vitest'
import { ProtoReader, UnusualMessage, WIRE_VARINT } from './proto-reader.ts'

/** One field of number 1 with a varint, as protobuf writes it. */
function varintField(value: bigint): Uint8Array {
  const bytes = [1 << 3]
  let rest = value
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Uint8Array.of(...bytes, Number(rest))
}

function readerAtValue(message: Uint8Array): ProtoReader {
  const reader = new ProtoReader(message)
  reader.next()
  return reader
}

describe('the protobuf reader', () => {
  test.each([0n, 1n, 127n, 128n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    'reads the 64 bits of %d',
    (value) => {
      const reader = readerAtValue(varintField(value))
      expect([reader.field, reader.wireType]).toEqual([1, WIRE_VARINT])
      expect(reader.uint64()).toBe(value)
      expect(reader.next()).toBe(false)
    },
  )

  test('leaves what has more than 64 bits to the real decoder', () => {
    expect(() => readerAtValue(varintField(2n ** 64n)).uint64()).toThrow(UnusualMessage)
    expect(() => readerAtValue(new Uint8Array(12).fill(0x88)).uint64()).toThrow(UnusualMessage)
  })

  test('tells where a value lies, and finds nothing beyond the end', () => {
    const reader = readerAtValue(Uint8Array.of(0x12, 2, 7, 8))
    expect([reader.span(), reader.valueAt]).toEqual([2, 2])
    expect(() => readerAtValue(Uint8Array.of(0x12, 3, 7, 8)).span()).toThrow(UnusualMessage)
    expect(() => readerAtValue(varintField(300n).subarray(0, 2)).uint64()).toThrow(UnusualMessage)
  })
})
