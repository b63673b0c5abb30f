import { describe, expect, it } from 'vitest'
import { seededRandom } from '../random.ts'
import { ReplayWindow } from './replay-window.ts'

/** The window as its definition reads, without bits. */
class PlainWindow {
  readonly size: bigint
  readonly seen = new Set<bigint>()
  highest = 0n
  constructor(size: number) {
    this.size = BigInt(size)
  }
  accept(seq: bigint): boolean {
    if (seq <= 0n || seq >= 2n ** 64n - 1n) return false
    if (this.highest - seq > this.size || this.seen.has(seq)) return false
    this.seen.add(seq)
    if (seq > this.highest) this.highest = seq
    return true
  }
}

describe('ReplayWindow', () => {
  it('takes each number once when they come in any order within the window', () => {
    const window = new ReplayWindow(1_024)
    const numbers = [1n, 5n, 3n, 2n, 1_000n, 4n, 999n]
    expect(numbers.map((seq) => window.accept(seq))).toEqual(numbers.map(() => true))
    expect(numbers.map((seq) => window.accept(seq))).toEqual(numbers.map(() => false))
    expect(window.highest).toBe(1_000n)
  })

  it('counts as seen what is more than its size below the highest', () => {
    const window = new ReplayWindow(1_024)
    window.accept(2_000n)
    expect(window.check(2_000n - 1_025n)).toBe(false)
    expect(window.check(2_000n - 1_024n)).toBe(true)
    expect(window.accept(2_000n - 1_024n)).toBe(true)
    expect(window.accept(2_000n - 1_024n)).toBe(false)
  })

  it.each([0n, -1n, 2n ** 64n - 1n, 2n ** 64n])('never takes %i', (seq) => {
    const window = new ReplayWindow(64)
    expect(window.accept(seq)).toBe(false)
    expect(window.highest).toBe(0n)
  })

  it('works at the upper end of the numbers', () => {
    const window = new ReplayWindow(64)
    const last = 2n ** 64n - 2n
    expect(window.accept(last)).toBe(true)
    expect(window.accept(last)).toBe(false)
    expect(window.accept(last - 64n)).toBe(true)
    expect(window.accept(last - 65n)).toBe(false)
  })

  it('changes nothing when it only checks', () => {
    const window = new ReplayWindow(64)
    expect(window.check(10n)).toBe(true)
    expect(window.check(10n)).toBe(true)
    expect(window.highest).toBe(0n)
  })

  it.each([1, 31, 32, 33, 64, 1_024, 4_096])('agrees with its definition when its size is %i', (size) => {
    const random = seededRandom(size)
    const window = new ReplayWindow(size)
    const plain = new PlainWindow(size)
    for (let round = 0; round < 5_000; round++) {
      const kind = random.uniform()
      const jump = Math.floor(random.uniform() * (kind < 0.02 ? size * 4 : 8))
      const back = Math.floor(random.uniform() * size * 1.2)
      const seq = kind < 0.5 ? plain.highest + BigInt(jump) : plain.highest - BigInt(back)
      expect(window.accept(seq), `seq ${seq}, highest ${plain.highest}`).toBe(plain.accept(seq))
    }
  })

  it.each([0, -1, 1.5])('cannot be made with size %f', (size) => {
    expect(() => new ReplayWindow(size)).toThrow(RangeError)
  })
})
