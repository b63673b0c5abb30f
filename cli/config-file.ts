import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Input, OptionSpec, OptionTable } from './args.ts'
import { CommandError, UsageError } from './failure.ts'
import { suggest } from './suggestion.ts'

/** What options take that can be written as numbers in JSON. */
const NUMERIC = new Set(['port', 'count', 'ms', 'bytes', 'time'])

/**
 * Options from a JSON object in a file: the names and values of the command line, numbers and booleans as such, a list for
 * what may be given several times. File names are relative to the file they stand in. Returns `input` with those it has
 * not itself: the command line wins, and its lists replace those of the file.
 * @throws UsageError for anything the options do not know; CommandError when the file cannot be read.
 */
export async function completeFromFile(input: Input, file: string, options: OptionTable): Promise<Input> {
  const values = Object.entries(await readObject(file)).map(([name, value]) => {
    const spec = Object.hasOwn(options, name) ? options[name] : undefined
    if (spec === undefined || spec.commandLineOnly) throw unknownName(name, file, options)
    const texts = textsOf(spec, value, `"${name}" in ${file}`)
    return [name, spec.value === 'file' ? texts.map((path) => resolve(dirname(file), path)) : texts] as const
  })
  return input.completedBy(new Map(values), file)
}

/** The options that were given, as `completeFromFile` reads them. */
export function toConfigFile(input: Input, options: OptionTable): string {
  const given = Object.entries(options).filter(([name, spec]) => !spec.commandLineOnly && input.list(name).length > 0)
  const values = given.map(([name, { value, multiple }]) => {
    const [text = '', list] = [input.text(name), input.list(name)]
    if (value === undefined) return [name, input.flag(name)]
    if (multiple) return [name, list]
    if (value === 'file') return [name, resolve(text)]
    return [name, NUMERIC.has(value) && /^\d{1,15}$/.test(text) ? Number(text) : text]
  })
  return JSON.stringify(Object.fromEntries(values), null, 2)
}

async function readObject(file: string): Promise<Record<string, unknown>> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException
    throw new CommandError(code, `--config: ${file} cannot be read (${code})`, { cause })
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new UsageError(`${file} is no JSON: ${(cause as Error).message}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new UsageError(`${file} holds no JSON object`, 'It looks like this: { "port": 4600, "max-sessions": 5000 }')
}

/** The value as the command line would say it. */
function textsOf(spec: OptionSpec, value: unknown, label: string): readonly string[] {
  if (spec.value === undefined) {
    if (typeof value === 'boolean') return [String(value)]
    throw new UsageError(`${label} must be true or false, not ${JSON.stringify(value)}`)
  }
  const texts = (spec.multiple && Array.isArray(value) ? value : [value]).map(textOf)
  if (texts.every((text) => text !== undefined)) return texts
  const expected = spec.multiple ? 'a text or a list of texts' : 'a text or a number'
  throw new UsageError(`${label} must be ${expected}, not ${JSON.stringify(value)}`)
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

function unknownName(name: string, file: string, options: OptionTable): UsageError {
  const known = Object.entries(options).filter(([, { commandLineOnly }]) => !commandLineOnly)
  const dashed = name.replace(/^-+/, '').replaceAll(/[A-Z_]/g, (letter) => `-${letter.toLowerCase()}`)
  const close = suggest(
    dashed.replaceAll(/-+_?/g, '-'),
    known.map(([option]) => option),
  )
  const hint = close === undefined ? 'The names are those of the options, without dashes.' : `Did you mean "${close}"?`
  return new UsageError(`"${name}" in ${file} is no option`, hint)
}
