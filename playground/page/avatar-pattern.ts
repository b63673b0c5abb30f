/**
 * A small symmetric pattern drawn from a key: the same key looks the same everywhere, and two keys almost never alike. It helps
 * to recognise, not to verify: 15 bits are no proof.
 */
const CELLS = 5
const HALF = 3

/** SVG path data of the pattern, in a square of 5 by 5 units. */
export function avatarPattern(key: Uint8Array): string {
  // Bytes of their own: the first two choose the nickname.
  const bits = (key[2] ?? 0) | ((key[3] ?? 0) << 8)
  let path = ''
  for (let row = 0; row < CELLS; row++) {
    for (let column = 0; column < HALF; column++) {
      if (((bits >> (row * HALF + column)) & 1) === 0) continue
      path += square(column, row)
      if (column < HALF - 1) path += square(CELLS - 1 - column, row)
    }
  }
  // A key whose bits are all zero has a face too.
  return path || square(2, 2)
}

function square(column: number, row: number): string {
  return `M${column} ${row}h1v1h-1z`
}
