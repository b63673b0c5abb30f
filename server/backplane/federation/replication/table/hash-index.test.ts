import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { HashIndex, NONE } from './hash-index.ts'

function find(index: HashIndex, hash: number, slot: number): number {
  let cell = index.first(hash)
  while (cell !== NONE && index.slot(cell) !== slot) cell = index.next(cell, hash)
  return cell
}

describe('a hash index', () => {
  test('finds what was added and not removed, though hashes collide', () => {
    const random = seededRandom(3)
    const index = new HashIndex()
    const held = new Map<number, number>()
    for (let step = 0; step < 50_000; step++) {
      const slot = Math.floor(random.uniform() * 500)
      const hash = held.get(slot)
      if (hash === undefined) {
        // Few hashes, all in one corner of the table: long runs, and many slots with the same.
        const next = Math.floor(random.uniform() * 40) * 0x10001
        index.add(next, slot)
        held.set(slot, next)
      } else {
        index.remove(find(index, hash, slot))
        held.delete(slot)
      }
      if (step % 500 > 0) continue
      expect(index.size).toBe(held.size)
      for (let each = 0; each < 500; each++) {
        const expected = held.get(each)
        if (expected !== undefined) expect(find(index, expected, each)).not.toBe(NONE)
      }
    }
  })

  test('finds nothing of a hash that it does not have, and lets a cell name another slot', () => {
    const index = new HashIndex()
    expect(index.first(7)).toBe(NONE)
    index.add(7, 1)
    index.replace(index.first(7), 0)
    expect(index.slot(index.first(7))).toBe(0)
    expect(index.first(7 + 16)).toBe(NONE)
  })
})
