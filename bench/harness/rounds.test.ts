import { expect, test } from 'vitest'
import { interleave } from './rounds.ts'

const context = { quick: true, profileDir: undefined, progress: () => {} }

test('rounds run contenders in turn and reverse the order every second round', async () => {
  const order: string[] = []
  const contender = (name: string) => ({
    name,
    measure: async () => {
      order.push(name)
      return { value: order.length }
    },
  })
  const measured = await interleave([contender('a'), contender('b')], { rounds: 2, context, label: 'test' })
  expect(order).toEqual(['a', 'b', 'b', 'a'])
  expect(measured.get('a')?.value?.samples).toEqual([1, 4])
})

test('rounds drop the measurements of warm-up rounds', async () => {
  let runs = 0
  const measure = async () => ({ value: runs++ })
  const measured = await interleave([{ name: 'a', measure }], { rounds: 1, discard: 2, context, label: 'test' })
  expect(measured.get('a')?.value?.samples).toEqual([2])
})
