import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { KeyedHash } from './keyed-hash.ts'

describe('the keyed hash', () => {
  test('depends on every byte, on the number beside, and on its secret', () => {
    const hash = new KeyedHash(seededRandom(1))
    const key = new Uint8Array(32).fill(1)
    const seen = new Set([hash.of(key, 0), hash.of(key, 1), new KeyedHash(seededRandom(2)).of(key, 0)])
    for (let at = 0; at < 32; at++) {
      const other = key.slice()
      other[at] = 2
      seen.add(hash.of(other, 0))
    }
    expect(seen.size).toBe(35)
    expect(hash.of(key, 0)).toBe(hash.of(key, 0))
  })

  test('spreads neighbouring keys evenly', () => {
    const hash = new KeyedHash(seededRandom(4))
    const counts = new Array<number>(16).fill(0)
    const key = new Uint8Array(32)
    for (let i = 0; i < 16_000; i++) {
      new DataView(key.buffer).setUint32(0, i)
      const low = hash.of(key, 0) & 15
      counts[low] = (counts[low] as number) + 1
    }
    // 1,000 each; five standard deviations are about 155.
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(155)
  })
})
