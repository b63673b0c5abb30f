import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { SlotLists } from './slot-lists.ts'

describe('slot lists', () => {
  test('are what arrays would be, whatever is added and removed', () => {
    const random = seededRandom(9)
    const lists = new SlotLists()
    const arrays: number[][] = Array.from({ length: 50 }, () => [])
    for (let step = 0; step < 50_000; step++) {
      const list = Math.floor(random.uniform() * arrays.length)
      const array = arrays[list] as number[]
      if (random.uniform() < 0.52) {
        expect(lists.push(list, step)).toBe(array.push(step) - 1)
      } else if (array.length > 0) {
        const index = Math.floor(random.uniform() * array.length)
        const last = array.pop() as number
        if (index < array.length) array[index] = last
        expect(lists.remove(list, index)).toBe(last)
      }
    }
    for (const [list, array] of arrays.entries()) expect([...lists.slots(list)]).toEqual(array)
    lists.clear(7)
    expect([lists.count(7), lists.slots(7).length]).toEqual([0, 0])
  })

  test('use the room of lists that ended', () => {
    const lists = new SlotLists()
    for (let round = 0; round < 100; round++) {
      for (let slot = 0; slot < 1_000; slot++) lists.push(round % 10, slot)
      lists.clear(round % 10)
    }
    expect(lists.capacityBytes).toBeLessThan(32_768)
  })
})
