import { seededRandom } from '@mesh/core'
import { expect, test } from 'vitest'
import { Gaps } from './sctp-gaps.ts'

/** What `Gaps` says, from the plain set of numbers. */
function rangesOf(offsets: readonly number[]): [number, number][] {
  const ranges: [number, number][] = []
  for (const offset of [...offsets].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last?.[1] === offset - 1) last[1] = offset
    else ranges.push([offset, offset])
  }
  return ranges
}

test.each([0, 0xffff_ffe0])(
  'Gaps list what came before its turn, in whatever order it came (after %i)',
  (cumulative) => {
    const random = seededRandom(3)
    for (let round = 0; round < 200; round += 1) {
      const gaps = new Gaps()
      const offsets: number[] = []
      for (let i = 0; i < 40; i += 1) {
        const offset = 2 + Math.floor(random.uniform() * 60)
        if (offsets.includes(offset)) continue
        offsets.push(offset)
        gaps.add((cumulative + offset) >>> 0, cumulative)
        expect(gaps.offsets(cumulative, 64)).toEqual(rangesOf(offsets))
      }
      expect(gaps.offsets(cumulative, 3)).toEqual(rangesOf(offsets).slice(0, 3))
      const rest = rangesOf(offsets).slice(1)
      gaps.shift()
      expect(gaps.offsets(cumulative, 64)).toEqual(rest)
      expect(gaps.isEmpty).toBe(rest.length === 0)
    }
  },
)
