import { createHash } from 'node:crypto'
import { toHex } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { RowDigest, rowHash } from './row-digest.ts'

const rows = Array.from({ length: 200 }, (_, i) => new Uint8Array(64 + i).fill(i))

/** The definition: sum of SHA-256(signature || record) modulo 2^256, big-endian. */
function defined(of: readonly Uint8Array[]): string {
  let sum = 0n
  for (const row of of) sum += BigInt(`0x${createHash('sha256').update(row).digest('hex')}`)
  return (sum % 2n ** 256n).toString(16).padStart(64, '0')
}

function digestOf(of: readonly Uint8Array[]): RowDigest {
  const digest = new RowDigest()
  for (const row of of) digest.add(rowHash(row))
  return digest
}

describe('the digest of a table', () => {
  test('is the sum of its rows, and zero without any', () => {
    expect(toHex(digestOf(rows).bytes())).toBe(defined(rows))
    expect(toHex(digestOf([]).bytes())).toBe('0'.repeat(64))
  })

  test('does not depend on the order of the rows, nor on rows that came and went', () => {
    const digest = digestOf([...rows].reverse())
    for (const row of rows.slice(0, 150)) digest.remove(rowHash(row))
    expect(toHex(digest.bytes())).toBe(defined(rows.slice(150)))
    digest.remove(rowHash(rows[0] as Uint8Array))
    digest.add(rowHash(rows[0] as Uint8Array))
    expect(toHex(digest.bytes())).toBe(defined(rows.slice(150)))
  })

  test('of a copy changes alone', () => {
    const digest = digestOf(rows.slice(0, 2))
    digest.copy().add(rowHash(rows[2] as Uint8Array))
    expect(toHex(digest.bytes())).toBe(defined(rows.slice(0, 2)))
  })
})
