import { expect, test } from 'vitest'
import { formatNumber, formatTable } from './table.ts'

test('a table aligns names to the left and numbers to the right', () => {
  expect(
    formatTable(
      ['name', 'value'],
      [
        ['a', '1'],
        ['longer', '1000'],
      ],
    ),
  ).toBe(['name    value', '──────  ─────', 'a           1', 'longer   1000'].join('\n'))
})

test('a number keeps about three digits whatever its size', () => {
  expect([0.123, 12.34, 123.4, 12345].map(formatNumber)).toEqual(['0.12', '12.3', '123', '12,345'])
})

test('a number that was not measured is shown as a dash', () => {
  expect(formatNumber(Number.NaN)).toBe('–')
})
