import { seededRandom } from '@mesh/core'
import { expect, test } from 'vitest'
import { AttemptTable } from './attempt-table.ts'

test('a table of attempts finds what is in it and nothing else, also past 32 bits', () => {
  const random = seededRandom(2)
  const table = new AttemptTable<{ number: number }>()
  const expected = new Map<number, { number: number }>()
  let last = 2 ** 32 - 5_000
  for (let step = 0; step < 20_000; step++) {
    const item = { number: ++last }
    table.add(item)
    expected.set(last, item)
    const number = last - Math.floor(random.uniform() * 40)
    expect(table.get(number)).toBe(expected.get(number))
    expect(table.delete(number)).toBe(expected.delete(number))
    if (step % 1_000 === 0) expect(table.get(number + 2 ** 32)).toBeUndefined()
  }
  expect(table.size).toBe(expected.size)
  expect(table.takeAll()).toEqual([...expected.values()])
  expect([table.size, table.takeAll()]).toEqual([0, []])
})
