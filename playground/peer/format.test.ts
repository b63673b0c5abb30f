import { describe, expect, test } from 'vitest'
import { count, formatAgo, formatBytes, formatDuration, formatRtt, shortChecksum } from './format.ts'
import { shortId } from './short-id.ts'

describe('bytes', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 KB'],
    [9_949, '9.9 KB'],
    [9_950, '10 KB'],
    [999_499, '999 KB'],
    [999_500, '1.0 MB'],
    [3_400_000, '3.4 MB'],
    [25_000_000_000, '25 GB'],
    [7_000_000_000_000_000, '7000 TB'],
  ])('%i are shown as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})

describe('a time in the past', () => {
  test.each([
    [-50, 'just now'],
    [4_999, 'just now'],
    [5_000, '5 s ago'],
    [59_999, '59 s ago'],
    [60_000, '1 min ago'],
    [3_599_999, '59 min ago'],
    [7_300_000, '2 h ago'],
  ])('of %i ms is shown as %s', (ms, text) => {
    expect(formatAgo(ms)).toBe(text)
  })
})

describe('a round-trip time', () => {
  test.each([
    [undefined, '–'],
    [0.3, '<1 ms'],
    [7.4, '7 ms'],
    [999.4, '999 ms'],
    [999.5, '1.0 s'],
    [1_240, '1.2 s'],
  ])('of %s is shown as %s', (rttMs, text) => {
    expect(formatRtt(rttMs)).toBe(text)
  })
})

describe('a duration', () => {
  test.each([
    [-5, '0:00'],
    [7_400, '0:07'],
    [760_000, '12:40'],
    [3_723_000, '1:02:03'],
  ])('of %i ms is shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
})

test('one is singular and anything else plural', () => {
  expect([0, 1, 2].map((amount) => count(amount, 'try', 'tries'))).toEqual(['0 tries', '1 try', '2 tries'])
})

test('a checksum and an id are shown by their ends', () => {
  expect(shortChecksum('0123456789abcdef0123456789abcdef')).toBe('01234567…cdef')
  expect(shortId('mesh13fwj885qvzytrd3p6fd2a3vssry68fh3wazxxt56p76cyuysnwms0ns0u6')).toBe('mesh13fw…s0u6')
  expect(shortId('short')).toBe('short')
})
