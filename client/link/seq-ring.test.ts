import { expect, test } from 'vitest'
import { SeqRing } from './seq-ring.ts'

test('SeqRing keeps every value when the span outgrows it, wherever the span begins', () => {
  const ring = new SeqRing<number>()
  const lowest = 1_000_003
  for (let seq = lowest; seq < lowest + 500; seq++) ring.set(seq, seq, lowest, seq)
  for (let seq = lowest; seq < lowest + 500; seq++) expect(ring.get(seq)).toBe(seq)
})

test('SeqRing gives nothing for a number that was deleted', () => {
  const ring = new SeqRing<string>()
  ring.set(7, 'seven', 7, 7)
  ring.delete(7)
  expect(ring.get(7)).toBeUndefined()
})

test('SeqRing works with numbers beyond 2^32', () => {
  const ring = new SeqRing<string>()
  const seq = 2 ** 40 + 5
  ring.set(seq, 'far', seq, seq)
  ring.set(seq + 1, 'farther', seq, seq + 1)
  expect([ring.get(seq), ring.get(seq + 1)]).toEqual(['far', 'farther'])
})
