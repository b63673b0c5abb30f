import { expect, test } from 'vitest'
import { suggest } from './suggestion.ts'

const names = ['serve', 'send', 'receive', 'peers', 'chat', 'id']

test.each([
  ['sevre', 'serve'],
  ['recieve', 'receive'],
  ['peer', 'peers'],
  ['snd', 'send'],
  ['caht', 'chat'],
  ['rec', 'receive'],
])('suggest takes %s for %s', (typed, meant) => {
  expect(suggest(typed, names)).toBe(meant)
})

test.each(['publish', 'x', ''])('suggest has no idea what "%s" is', (typed) => {
  expect(suggest(typed, ['serve', 'receive'])).toBeUndefined()
})
