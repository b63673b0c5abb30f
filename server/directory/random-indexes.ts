import type { Random } from '@mesh/core'

/** The numbers below `length`, each once, in random order: a Fisher-Yates shuffle of which only what is taken is done. */
export function* randomIndexes(random: Random, length: number): Generator<number> {
  // A sparse permutation: `moved` holds only the places that were touched.
  const moved = new Map<number, number>()
  for (let step = 0; step < length; step++) {
    const pick = step + Math.floor(random.uniform() * (length - step))
    yield moved.get(pick) ?? pick
    moved.set(pick, moved.get(step) ?? step)
  }
}
