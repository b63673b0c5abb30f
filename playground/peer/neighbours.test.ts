import { expect, test } from 'vitest'
import { readNeighbours } from './neighbours.ts'

const id = `mesh1${'q'.repeat(58)}`

test('neighbours are read from a valid answer', () => {
  const answer = [{ id, path: 'direct', more: 1 }]
  expect(readNeighbours(answer)).toEqual(answer)
})

test.each([
  ['text', 'nobody'],
  ['an object', { id, path: 'direct' }],
  ['an unknown path', [{ id, path: 'pigeon' }]],
  ['an id that is too long', [{ id: `${id}${id}`, path: 'direct' }]],
  ['holes', [null, undefined, 7]],
])('an answer of %s names no neighbours', (_, answer) => {
  expect(readNeighbours(answer)).toEqual([])
})

test('an answer without end is cut', () => {
  expect(readNeighbours(Array.from({ length: 5_000 }, () => ({ id, path: 'relay' })))).toHaveLength(64)
})
