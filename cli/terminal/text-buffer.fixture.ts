import type { TextStream } from './output.ts'

/** A stream that remembers what was written. */
export class TextBuffer implements TextStream {
  readonly isTTY: boolean
  readonly columns: number
  text = ''

  constructor({ isTTY = false, columns = 80 } = {}) {
    this.isTTY = isTTY
    this.columns = columns
  }

  write(text: string): boolean {
    this.text += text
    return true
  }

  /** Complete lines so far. */
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1)
  }

  /** The lines as JSON. */
  get events(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  }
}
