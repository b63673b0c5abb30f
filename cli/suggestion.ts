/** The candidate that was probably meant, or undefined when none is close. */
export function suggest(text: string, candidates: readonly string[]): string | undefined {
  const mostEdits = Math.max(1, Math.floor(text.length / 3))
  const ranked = candidates
    .map((candidate) => ({ candidate, edits: editDistance(text, candidate) }))
    .filter(({ candidate, edits }) => edits <= mostEdits || (text.length > 2 && candidate.startsWith(text)))
    .sort((a, b) => a.edits - b.edits)
  return ranked[0]?.candidate
}

/** Optimal string alignment: insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      const edits = [at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1)]
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) edits.push(at(beforeLast, column - 2) + 1)
      current.push(Math.min(...edits))
    }
    beforeLast = last
    last = current
  }
  return at(last, b.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? 0
}
