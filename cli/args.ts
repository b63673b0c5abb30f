import { parseArgs } from 'node:util'
import { fromHex, parsePeerId } from '@mesh/core'
import { UsageError } from './failure.ts'
import { parseBytes, parseDurationMs } from './quantity.ts'
import { suggest } from './suggestion.ts'

/** One option of a command, for the parser and for the help. */
export interface OptionSpec {
  /** What the help calls its value, for example "port"; a flag has none. */
  readonly value?: string
  readonly short?: string
  /** May be given several times. */
  readonly multiple?: true
  readonly meaning: string
  /** What happens without it, as the help says it. */
  readonly fallback?: string
  /** Heading under which the help lists it; default "Options". */
  readonly group?: string
  /** Has no place in a configuration file. */
  readonly commandLineOnly?: true
}

/** Options by their name without dashes. */
export type OptionTable = Readonly<Record<string, OptionSpec>>

export interface ArgumentSpec {
  readonly name: string
  readonly meaning: string
  readonly optional?: true
}

/** What a command accepts. */
export interface ArgumentRules {
  /** As its user calls it, for hints: "mesh chat". */
  readonly usage: string
  readonly arguments: readonly ArgumentSpec[]
  readonly options: OptionTable
}

interface Range {
  readonly min?: number
  readonly max?: number
}

/** The arguments and options given to one command. Readers throw a UsageError that names the option. */
export class Input {
  readonly #positionals: readonly string[]
  readonly #values: ReadonlyMap<string, readonly string[]>
  /** Where values come from that were not typed: how messages call them. */
  readonly #labels: ReadonlyMap<string, string>

  constructor(
    positionals: readonly string[],
    values: ReadonlyMap<string, readonly string[]>,
    labels: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#positionals = positionals
    this.#values = values
    this.#labels = labels
  }

  /** This input with `values` where it has none; `source` says where they come from, for example the name of a file. */
  completedBy(values: ReadonlyMap<string, readonly string[]>, source: string): Input {
    const added = [...values].filter(([name]) => !this.#values.has(name))
    const labels = added.map(([name]) => [name, `"${name}" in ${source}`] as const)
    return new Input(this.#positionals, new Map([...this.#values, ...added]), new Map([...this.#labels, ...labels]))
  }

  /** How messages call an option: "--port", or where else it was given. */
  label(name: string): string {
    return this.#labels.get(name) ?? `--${name}`
  }

  /** The argument at `index`; throws a RangeError for one that `ArgumentRules` do not require. */
  argument(index: number): string {
    const value = this.#positionals[index]
    if (value === undefined) throw new RangeError(`there is no argument ${index}`)
    return value
  }

  /** Whether a flag was given (and not taken back by `--no-`). */
  flag(name: string): boolean | undefined {
    const value = this.text(name)
    return value === undefined ? undefined : value === 'true'
  }

  /** The last value given. */
  text(name: string): string | undefined {
    return this.#values.get(name)?.at(-1)
  }

  /** All values given. */
  list(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  /** A whole number within the range, ends included. */
  whole(name: string, range: Range = {}): number | undefined {
    return this.#quantity(name, range, 'a whole number', (text) => (/^\d+$/.test(text) ? Number(text) : undefined))
  }

  /** A time in milliseconds; bare numbers are seconds, unless `bareUnitMs` says otherwise. */
  durationMs(name: string, range: Range & { readonly bareUnitMs?: number } = {}): number | undefined {
    const parse = (text: string): number | undefined => parseDurationMs(text, range.bareUnitMs)
    return this.#quantity(name, range, 'a time like 500ms, 10s or 2m', parse)
  }

  /** A size in bytes. */
  bytes(name: string, range: Range = {}): number | undefined {
    return this.#quantity(name, range, 'a size like 65536, 64KiB or 2GB', parseBytes)
  }

  /** A key of 32 bytes, in hexadecimal. */
  key(name: string): Uint8Array | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    if (!/^[0-9a-f]{64}$/i.test(text)) {
      throw new UsageError(`${this.label(name)} needs a key of 64 hexadecimal digits, not "${text}"`)
    }
    return fromHex(text.toLowerCase())
  }

  /** Peer ids; throws MeshError PEER_ID_INVALID saying what is wrong with one. */
  peerIds(name: string): readonly string[] {
    for (const id of this.list(name)) parsePeerId(id)
    return [...new Set(this.list(name))]
  }

  #quantity(
    name: string,
    { min = 0, max = Number.MAX_SAFE_INTEGER }: Range,
    expected: string,
    parse: (text: string) => number | undefined,
  ): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = parse(text)
    if (value === undefined) throw new UsageError(`${this.label(name)} needs ${expected}, not "${text}"`)
    if (value >= min && value <= max) return value
    const allowed = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`
    throw new UsageError(`${this.label(name)} must be ${allowed}, not ${text}`)
  }
}

/** Reads what followed the command's name. Throws a UsageError for anything the rules do not know. */
export function parseInput(args: readonly string[], rules: ArgumentRules): Input {
  const { options } = rules
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(Object.entries(options).map(([name, spec]) => [name, parserOption(spec)])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const positionals: string[] = []
  const values = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const [name, value] = readOption(token, rules)
    values.set(name, [...(values.get(name) ?? []), value])
  }
  checkPositionals(positionals, rules)
  return new Input(positionals, values)
}

function parserOption({ value, short }: OptionSpec): { type: 'string' | 'boolean'; short?: string } {
  return { type: value === undefined ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) }
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value: string | undefined
  readonly inlineValue: boolean | undefined
}

function readOption(token: OptionToken, { usage, options }: ArgumentRules): [name: string, value: string] {
  const spec = Object.hasOwn(options, token.name) ? options[token.name] : undefined
  const positive = token.name.replace(/^no-/, '')
  const negated = Object.hasOwn(options, positive) ? options[positive] : undefined
  if (!spec && negated && negated.value === undefined && token.value === undefined) return [positive, 'false']
  if (!spec) throw unknownOption(token, usage, options)
  if (spec.value === undefined) {
    if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value, but got "${token.value}"`)
    return [token.name, 'true']
  }
  if (token.value === undefined || token.value === '') {
    throw new UsageError(`${token.rawName} needs a value: ${token.rawName} <${spec.value}>`)
  }
  if (!token.inlineValue && /^-./.test(token.value)) {
    const hint = `If "${token.value}" is meant as the value, write --${token.name}=${token.value}`
    throw new UsageError(`${token.rawName} needs a value: ${token.rawName} <${spec.value}>`, hint)
  }
  return [token.name, token.value]
}

function unknownOption({ name, rawName }: OptionToken, usage: string, options: OptionTable): UsageError {
  const close = rawName.startsWith('--') ? suggest(name, Object.keys(options)) : undefined
  const hint = close === undefined ? `\`${usage} --help\` lists the options.` : `Did you mean --${close}?`
  return new UsageError(`unknown option ${rawName}`, hint)
}

function checkPositionals(positionals: readonly string[], { usage, arguments: specs }: ArgumentRules): void {
  const missing = specs.slice(positionals.length).find(({ optional }) => !optional)
  if (missing) throw new UsageError(`<${missing.name}> is missing`, `\`${usage} --help\` says how to use it.`)
  const extra = positionals[specs.length]
  if (extra !== undefined) {
    const hint = specs.length === 0 ? undefined : 'Put quotes around arguments with blanks.'
    throw new UsageError(`unexpected argument "${extra}"`, hint)
  }
}
