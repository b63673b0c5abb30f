import { describe, expect, it } from 'vitest'
import { fakeRecord } from '../testing/record.fixture.ts'
import { isOutdated, isPreferred, outlasts, supersedes } from './record-order.ts'

/** A record of one process at its first or second server, or of the next process. */
function at(where: 'first' | 'second' | 'later life', seq: number) {
  const number = { first: 1, second: 2, 'later life': 3 }[where]
  const process = where === 'later life' ? 2n : 1n
  return fakeRecord({ session: number, order: (process << 20n) + BigInt(number), seq }).record
}

describe('records of one peer', () => {
  it('are its later word by seq within a process, and by process beyond', () => {
    expect(supersedes(at('first', 6), at('second', 5))).toBe(true)
    expect(supersedes(at('second', 5), at('first', 6))).toBe(false)
    expect(supersedes(at('later life', 1), at('second', 5))).toBe(true)
    expect(supersedes(at('second', 5), at('later life', 1))).toBe(false)
  })

  it('are preferred by the session it opened last', () => {
    expect(isPreferred(at('second', 5), at('first', 6))).toBe(true)
    expect(isPreferred(at('first', 6), at('second', 5))).toBe(false)
    expect(isPreferred(at('first', 6), at('first', 5))).toBe(true)
  })

  it('give way to another session of the process, not to an earlier record of the same or an earlier process', () => {
    expect(outlasts(at('second', 5), at('first', 4))).toBe(false)
    expect(outlasts(at('first', 5), at('first', 4))).toBe(true)
    expect(outlasts(at('later life', 1), at('first', 4))).toBe(true)
    expect(outlasts(at('first', 4), at('later life', 1))).toBe(false)
  })

  it('come too late when neither session nor record is later, and no server lists the session', () => {
    const [listed, unlisted] = [() => true, () => false]
    expect(isOutdated(at('first', 4), at('second', 5), unlisted)).toBe(true)
    expect(isOutdated(at('first', 4), at('second', 5), listed)).toBe(false)
    // Refreshed after the other one.
    expect(isOutdated(at('first', 6), at('second', 5), unlisted)).toBe(false)
    // At a server this side is not at.
    expect(isOutdated(at('second', 4), at('first', 5), unlisted)).toBe(false)
    expect(isOutdated(at('second', 9), at('later life', 5), listed)).toBe(true)
    expect(isOutdated(at('later life', 5), at('second', 9), unlisted)).toBe(false)
  })
})
