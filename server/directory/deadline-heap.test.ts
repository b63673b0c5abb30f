import { seededRandom } from '@mesh/core'
import { expect, test } from 'vitest'
import { DeadlineHeap } from './deadline-heap.ts'

test('the heap yields deadlines in order, whatever was added, moved and removed', () => {
  const random = seededRandom(1)
  const heap = new DeadlineHeap<number>()
  const entries = Array.from({ length: 500 }, (_, item) => heap.add(random.uniform() * 1_000, item))
  const expected = new Map(entries.map((entry) => [entry.item, entry.atMs]))
  for (const entry of entries) {
    const dice = random.uniform()
    if (dice < 0.3) {
      heap.remove(entry)
      expected.delete(entry.item)
    } else if (dice < 0.7) {
      heap.move(entry, random.uniform() * 1_000)
      expected.set(entry.item, entry.atMs)
    }
  }
  const order: number[] = []
  for (let item = heap.popDue(1_000); item !== undefined; item = heap.popDue(1_000)) order.push(item)
  expect(order).toHaveLength(expected.size)
  const times = order.map((item) => expected.get(item) as number)
  expect(times).toEqual([...times].sort((a, b) => a - b))
})

test('the heap keeps what is not due, and says when it will be', () => {
  const heap = new DeadlineHeap<string>()
  heap.add(20, 'later')
  heap.add(10, 'sooner')
  expect(heap.nextAtMs).toBe(10)
  expect(heap.popDue(9)).toBeUndefined()
  expect(heap.popDue(10)).toBe('sooner')
  expect(heap.popDue(10)).toBeUndefined()
  expect(heap.nextAtMs).toBe(20)
})

test('removing or moving an entry that is gone does nothing', () => {
  const heap = new DeadlineHeap<string>()
  const gone = heap.add(1, 'gone')
  heap.popDue(1)
  heap.add(5, 'stays')
  heap.remove(gone)
  heap.move(gone, 0)
  expect(heap.size).toBe(1)
  expect(heap.nextAtMs).toBe(5)
})
