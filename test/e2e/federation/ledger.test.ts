import { beforeEach, describe, expect, test } from 'vitest'
import { Ledger } from './ledger.ts'

let ledger: Ledger

beforeEach(() => {
  ledger = new Ledger()
})

describe('the ledger', () => {
  test('finds a message that was reported delivered and never came', () => {
    ledger.sent('m', 'a', 'b', 10)
    ledger.settled('m', 'delivered', 20)
    expect(ledger.verdict().lost).toEqual(['m from a to b: sent 10, delivered 20, received never'])
  })

  test('blames nobody for messages that were held, refused or never answered', () => {
    for (const [id, outcome] of Object.entries({ h: 'held', r: 'refused', u: 'unknown' } as const)) {
      ledger.sent(id, 'a', 'b', 10)
      ledger.settled(id, outcome, 20, 'RECIPIENT_ABSENT')
    }
    const verdict = ledger.verdict()
    expect(verdict.lost).toEqual([])
    expect(verdict.outcomes).toEqual({ delivered: 0, held: 1, refused: 1, unknown: 1 })
    expect(verdict.refusals).toEqual({ RECIPIENT_ABSENT: 1 })
  })

  test('excuses a message whose recipient lost its session at that moment, and no other', () => {
    ledger.sent('before', 'a', 'b', 1_000)
    ledger.settled('before', 'delivered', 1_010)
    ledger.sent('then', 'a', 'b', 4_900)
    ledger.settled('then', 'delivered', 5_010)
    ledger.sent('after', 'a', 'b', 6_001)
    ledger.settled('after', 'delivered', 6_010)
    ledger.sessionLost('b', 5_000, 6_000)
    const { lost, cutOff } = ledger.verdict()
    expect(cutOff).toBe(1)
    expect(lost.map((line) => line.split(' ')[0])).toEqual(['before', 'after'])
  })

  test('finds what came twice, or to somebody else', () => {
    ledger.sent('m', 'a', 'b', 10)
    ledger.received('m', 'b', 20)
    ledger.received('m', 'b', 30)
    ledger.received('m', 'c', 30)
    expect(ledger.verdict().twice).toEqual([
      'm from a to b: sent 10, unknown Infinity, received 20, 30',
      'c received m, which nobody sent to it',
    ])
  })

  test('counts apart what came again in another session of the recipient', () => {
    ledger.sent('m', 'a', 'b', 10)
    ledger.received('m', 'b', 20, 'first')
    ledger.received('m', 'b', 30, 'second')
    expect(ledger.verdict()).toMatchObject({ twice: [], again: 1 })
  })

  test('counts what overtook an earlier message of the same sender to the same recipient', () => {
    for (const [id, sentMs] of [
      ['1', 10],
      ['2', 20],
      ['3', 30],
    ] as const)
      ledger.sent(id, 'a', 'b', sentMs)
    ledger.received('2', 'b', 40)
    ledger.received('1', 'b', 41)
    ledger.received('3', 'b', 42)
    expect(ledger.verdict().overtaken).toBe(1)
  })

  test('finds departures of peers that were there, and takes those of peers that were not', () => {
    ledger.left('o', 'stayed', 100, 'SERVER_LOST')
    ledger.gone('went', 100)
    ledger.left('o', 'went', 110, 'LEFT')
    ledger.back('went', 200)
    ledger.left('o', 'went', 210, 'LEFT')
    expect(ledger.verdict().falseDepartures).toEqual([
      'o heard at 100 that stayed left: SERVER_LOST',
      'o heard at 210 that went left: LEFT',
    ])
  })

  test('tells how long a ghost stayed, and where it still is', () => {
    ledger.gone('ghost', 100)
    ledger.left('o', 'ghost', 350, 'SERVER_LOST')
    expect(ledger.ghostMs('ghost', ['o', 'p'])).toEqual([250, Number.POSITIVE_INFINITY])
  })

  test('measures the way of messages, and the longest silence', () => {
    for (const [id, sentMs] of [
      ['1', 0],
      ['2', 100],
      ['3', 500],
    ] as const) {
      ledger.sent(id, 'a', 'b', sentMs)
      ledger.received(id, 'b', sentMs + 10)
    }
    expect(ledger.latency(() => true)).toEqual({ count: 3, p50Ms: 10, p99Ms: 10, maxMs: 10 })
    expect(ledger.latency((from) => from === 'c').count).toBe(0)
    expect(ledger.longestSilence(() => true, 0, 600)).toBe(400)
    expect(ledger.longestSilence((from) => from === 'c', 0, 600)).toBe(600)
  })
})
