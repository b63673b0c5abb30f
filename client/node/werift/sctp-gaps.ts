/** The numbers that came before their turn, as ranges: an acknowledgement lists them, and there is one per packet while any are missing. */
export class Gaps {
  /** Ascending, with numbers missing between them. */
  readonly #ranges: { first: number; last: number }[] = []

  get isEmpty(): boolean {
    return this.#ranges.length === 0
  }

  /** Adds a number that is not here yet, beyond `cumulativeTsn`. */
  add(tsn: number, cumulativeTsn: number): void {
    const ranges = this.#ranges
    const ahead = (tsn - cumulativeTsn) >>> 0
    let at = ranges.length
    // From the end, because most come in order.
    while (at > 0 && (ranges[at - 1]!.first - cumulativeTsn) >>> 0 > ahead) at -= 1
    const before = ranges[at - 1]
    const after = ranges[at]
    const continues = before !== undefined && (before.last + 1) >>> 0 === tsn
    const precedes = after !== undefined && (tsn + 1) >>> 0 === after.first
    if (continues && precedes) {
      before.last = after.last
      ranges.splice(at, 1)
    } else if (continues) before.last = tsn
    else if (precedes) after.first = tsn
    else ranges.splice(at, 0, { first: tsn, last: tsn })
  }

  /** Takes out the first range, whose turn has come. */
  shift(): void {
    this.#ranges.shift()
  }

  /** The first `max` ranges, as offsets from `cumulativeTsn`, both included. */
  offsets(cumulativeTsn: number, max: number): [number, number][] {
    const offset = (tsn: number) => (tsn - cumulativeTsn) >>> 0
    return this.#ranges.slice(0, max).map(({ first, last }) => [offset(first), offset(last)])
  }
}
