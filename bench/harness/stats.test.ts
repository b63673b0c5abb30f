import { expect, test } from 'vitest'
import { pairedDifference, pairedRatio, percentile, spread, summarize } from './stats.ts'

test('a summary takes the middle of unsorted samples and keeps their order', () => {
  const summary = summarize([30, 10, 20])
  expect(summary).toEqual({ median: 20, low: 15, high: 25, samples: [30, 10, 20] })
})

test('a percentile interpolates between the two nearest samples', () => {
  expect(percentile([0, 10], 0.25)).toBe(2.5)
  expect(percentile([1, 2, 3, 4], 1)).toBe(4)
})

test('a summary refuses to invent a number when there are no samples', () => {
  expect(() => summarize([])).toThrow('no samples')
})

test('spread is half the interquartile range relative to the median', () => {
  expect(spread(summarize([0, 90, 100, 110, 500]))).toBeCloseTo(0.1)
})

test('a paired ratio cancels noise that slows a whole round down', () => {
  const ratio = pairedRatio(summarize([10, 100, 1000]), summarize([20, 200, 2000]))
  expect([ratio.low, ratio.median, ratio.high]).toEqual([0.5, 0.5, 0.5])
})

test('a paired difference stays in the unit of the samples', () => {
  expect(pairedDifference(summarize([12, 25]), summarize([10, 20])).samples).toEqual([2, 5])
})
