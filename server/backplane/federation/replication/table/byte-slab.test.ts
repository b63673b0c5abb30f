import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { ByteSlab } from './byte-slab.ts'

const NOTHING = new Uint8Array()

describe('a slab', () => {
  test('holds each entry whole, whatever came and went between', () => {
    const random = seededRandom(5)
    const entries = new Map<number, { entry: number; bytes: Uint8Array }>()
    const slab = new ByteSlab((owner, entry) => {
      const held = entries.get(owner)
      if (held === undefined) throw new Error(`entry of ${owner} was freed, and moved`)
      held.entry = entry
    })
    for (let step = 0; step < 40_000; step++) {
      const owner = Math.floor(random.uniform() * 2_000)
      const held = entries.get(owner)
      if (held !== undefined) {
        entries.delete(owner)
        slab.free(held.entry)
      } else {
        const bytes = random.bytes(Math.floor(random.uniform() * 600))
        const split = Math.floor(random.uniform() * bytes.length)
        entries.set(owner, { entry: slab.put(owner, bytes.subarray(0, split), bytes.subarray(split)), bytes })
      }
    }
    for (const { entry, bytes } of entries.values()) expect(Buffer.compare(slab.view(entry), bytes)).toBe(0)
  })

  test('stays within twice what is alive, and a mebibyte, while sizes change for ever', () => {
    const entries: number[] = []
    const slab = new ByteSlab((owner, entry) => {
      entries[owner] = entry
    })
    for (let round = 0; round < 40; round++) {
      const bytes = new Uint8Array(100 + round * 40)
      for (let owner = 0; owner < 2_000; owner++) {
        const held = entries[owner]
        if (held !== undefined) slab.free(held)
        entries[owner] = slab.put(owner, bytes, NOTHING)
      }
      expect(slab.capacityBytes).toBeLessThan(2 * 2_000 * (bytes.length + 16) + 3 * (1 << 20))
    }
  })

  test('costs a small table little', () => {
    const slab = new ByteSlab(() => {})
    slab.put(1, new Uint8Array(300), NOTHING)
    expect(slab.capacityBytes).toBe(4_096)
  })

  test('tells whether 32 bytes are somewhere in an entry, and gives bytes as text', () => {
    const slab = new ByteSlab(() => {})
    const key = Uint8Array.from({ length: 32 }, (_, i) => 200 + i)
    const entry = slab.put(1, Uint8Array.of(1, 2), key)
    expect([slab.has32(entry, 2, key), slab.has32(entry, 1, key)]).toEqual([true, false])
    expect(slab.latin1(entry, 2, 2)).toBe('\u00c8\u00c9')
  })
})
