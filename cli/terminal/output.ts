import type { Failure } from '../failure.ts'
import { makeStyle, printableLines, type Style } from './style.ts'

/** A stream to write text to, and what is known about its screen. */
export interface TextStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

/** A line that stays at the bottom of the screen: the prompt of a chat, a progress bar. */
export interface StickyLine {
  /** Removes it from the screen. */
  clear(): void
  /** Puts it back. */
  draw(): void
}

export interface OutputOptions {
  readonly stdout: TextStream
  readonly stderr: TextStream
  /** One JSON object per line on stdout, and nothing else. */
  readonly json: boolean
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Facts of one line of JSON. Values that are undefined are left out. */
export type EventFields = Readonly<Record<string, unknown>>

const DEFAULT_COLUMNS = 80
const DEFAULT_ROWS = 24

/**
 * Everything a command says. Each thing is said once, as an event with fields and as a line for people; `--json` decides
 * which of the two appears. Results go to stdout, remarks about them to stderr.
 */
export class Output {
  readonly json: boolean
  /** For lines on stdout. */
  readonly style: Style
  readonly #stdout: TextStream
  readonly #stderr: TextStream
  readonly #errorStyle: Style
  #sticky: StickyLine | undefined

  constructor({ stdout, stderr, json, env }: OutputOptions) {
    this.json = json
    this.#stdout = stdout
    this.#stderr = stderr
    this.style = makeStyle(stdout.isTTY === true, env)
    this.#errorStyle = makeStyle(stderr.isTTY === true, env)
  }

  /** Whether people watch: a terminal on stdout, and no `--json`. */
  get interactive(): boolean {
    return !this.json && this.#stdout.isTTY === true
  }

  /** Whether stderr is a terminal, so that a log would be read by people. */
  get logsToScreen(): boolean {
    return this.#stderr.isTTY === true
  }

  get columns(): number {
    return this.#stdout.columns ?? DEFAULT_COLUMNS
  }

  get rows(): number {
    return this.#stdout.rows ?? DEFAULT_ROWS
  }

  /** A result: `{"event":name,...fields}`, or the text; an undefined text is for programs only. */
  event(name: string, fields: EventFields, text?: string): void {
    if (this.json) this.#print(this.#stdout, JSON.stringify({ event: name, ...fields }, jsonValue))
    else if (text !== undefined) this.#print(this.#stdout, text)
  }

  /** Text that is the same for people and programs, such as help. */
  text(text: string): void {
    this.#print(this.#stdout, text.replace(/\n$/, ''))
  }

  /** A remark: on stderr for people, an event for programs. */
  remark(name: string, fields: EventFields, text: string): void {
    if (this.json) this.event(name, fields)
    else this.#print(this.#stderr, this.#errorStyle.dim(text))
  }

  /** A warning: as `remark`, but more visible. */
  warning(name: string, fields: EventFields, text: string): void {
    if (this.json) this.event(name, fields)
    else this.#print(this.#stderr, this.#errorStyle.warning(text))
  }

  /** Why the command ends without success. `who`: "mesh chat". */
  failure(who: string, { reason, message, hint, exitCode }: Failure): void {
    if (this.json) return this.event('error', { reason, message, hint, exitCode })
    // Ctrl+C leaves its "^C", and maybe a prompt, on the line.
    const start = reason === 'INTERRUPTED' && this.#stderr.isTTY ? '\n' : ''
    this.#print(this.#stderr, `${start}${this.#errorStyle.bad(`${who}:`)} ${printableLines(message, '  ')}`)
    if (hint !== undefined) this.#print(this.#stderr, hint)
  }

  /** A line of a log, on stderr whatever the mode. Ends with a line break. */
  log(line: string): void {
    this.#print(this.#stderr, line.trimEnd())
  }

  /** Writes to stdout as it is, for sticky lines. */
  raw(text: string): void {
    this.#stdout.write(text)
  }

  /** Keeps a line at the bottom; the returned function removes it. One at a time. */
  stick(line: StickyLine): () => void {
    this.#sticky = line
    line.draw()
    return () => {
      if (this.#sticky !== line) return
      this.#sticky = undefined
      line.clear()
    }
  }

  #print(stream: TextStream, text: string): void {
    this.#sticky?.clear()
    stream.write(`${text}\n`)
    this.#sticky?.draw()
  }
}

function jsonValue(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value
}
