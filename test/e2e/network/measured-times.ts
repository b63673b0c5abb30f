interface Row {
  readonly what: string
  readonly measured: string
  readonly bound: string
}

/** What a run measured, as the tables of docs/federation.md and docs/links.md. */
export class MeasuredTimes {
  readonly #rows: Row[] = []

  add(what: string, ms: number, bound = ''): void {
    this.addWords(what, inWords(ms), bound)
  }

  /** What is no time. */
  addWords(what: string, measured: string, bound = ''): void {
    this.#rows.push({ what, measured, bound })
  }

  /** Markdown; empty when nothing was measured. */
  table(): string {
    if (this.#rows.length === 0) return ''
    const rows = [{ what: 'what', measured: 'measured', bound: 'promised' }, ...this.#rows]
    const width = (field: keyof Row): number => Math.max(...rows.map((row) => row[field].length))
    const line = (row: Row): string =>
      `| ${row.what.padEnd(width('what'))} | ${row.measured.padStart(width('measured'))} | ${row.bound.padStart(width('bound'))} |`
    const [head = '', ...body] = rows.map(line)
    const rule = `|${(['what', 'measured', 'bound'] as const).map((field) => '-'.repeat(width(field) + 2)).join('|')}|`
    return [head, rule, ...body].join('\n')
  }
}

function inWords(ms: number): string {
  if (!Number.isFinite(ms)) return 'never'
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
