import { describe, expect, test } from 'vitest'
import { formatBytes, formatDuration, formatRate, parseBytes, parseDurationMs } from './quantity.ts'

test.each(['', 'MB', '1e3', '-5', '1 000', '0x10', '9007199254740993', '1.2.3kb', '5 s'])(
  'parseBytes refuses "%s"',
  (text) => {
    expect(parseBytes(text)).toBeUndefined()
  },
)

test.each(['', 's', '5KB', '-1s', '1s500ms'])('parseDurationMs refuses "%s"', (text) => {
  expect(parseDurationMs(text)).toBeUndefined()
})

describe('formatBytes', () => {
  test.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1.0 KiB'],
    [5 * 1_024 ** 2, '5.0 MiB'],
    [1_024 ** 2 - 1, '1.0 MiB'],
    [150 * 1_024 ** 3, '150 GiB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})

describe('formatDuration', () => {
  test.each([
    [300, '0.3 s'],
    [12_000, '12 s'],
    [185_000, '3:05'],
    [3_723_000, '1:02:03'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
})

test('formatRate knows no rate before any time has passed', () => {
  expect(formatRate(100, 0)).toBe('–')
  expect(formatRate(2_048, 2_000)).toBe('1.0 KiB/s')
})
