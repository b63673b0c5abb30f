import type { ArgumentSpec, OptionSpec, OptionTable } from './args.ts'
import { COMMON_OPTIONS, type Command, type CommandEntry, type Example } from './command.ts'
import { EXIT_CODES } from './exit-code.ts'
import { type Style, wrap } from './terminal/style.ts'

const MAX_WIDTH = 100
const MIN_MEANING_WIDTH = 30
const WIDEST_LABEL = 34

/** `mesh --help`. `width`: columns of the terminal. */
export function renderOverview(
  commands: ReadonlyMap<string, CommandEntry>,
  examples: readonly Example[],
  style: Style,
  width: number,
): string {
  const columns = Math.min(width, MAX_WIDTH)
  const rows = [...commands].map(([name, { summary }]) => [name, summary] as const)
  return sections([
    wrap('mesh: peers find each other through a signaling server and talk over authenticated links.', columns),
    section('Usage', ['  mesh <command> [arguments] [options]'], style),
    section('Commands', table(rows, style, columns), style),
    section(
      'Options',
      table(
        [
          ['-h, --help', 'show this help; after a command: help for that command'],
          ['-V, --version', 'show the version'],
        ],
        style,
        columns,
      ),
      style,
    ),
    section('Examples', exampleLines(examples, style), style),
    section(
      'Environment',
      table(
        [
          ['MESH_SERVER', 'the server for parties given by name; default mesh://localhost:4600'],
          ['MESH_HOME', 'where keys are kept; default ~/.mesh'],
          ['NO_COLOR', 'no colours when set'],
          ['MESH_DEBUG', 'when set, errors are followed by their stack and causes'],
        ],
        style,
        columns,
      ),
      style,
    ),
    section('Exit codes', table(EXIT_CODES, style, columns), style),
  ])
}

/** `mesh <name> --help`. */
export function renderHelp(name: string, command: Command, style: Style, width: number): string {
  const columns = Math.min(width, MAX_WIDTH)
  const groups = Map.groupBy(Object.entries(command.options), ([, { group }]) => group ?? 'Options')
  const own = groups.get('Options') ?? []
  groups.delete('Options')
  const optionSections = [['Options', [...own, ...Object.entries(COMMON_OPTIONS)]] as const, ...groups]
  return sections([
    section('Usage', [`  ${usageLine(name, command.arguments)}`], style),
    wrap(command.description, columns),
    ...(command.arguments.length === 0
      ? []
      : [section('Arguments', table(command.arguments.map(argumentRow), style, columns), style)]),
    ...optionSections.map(([title, options]) =>
      section(title, table(optionRows(Object.fromEntries(options)), style, columns), style),
    ),
    section('Examples', exampleLines(command.examples, style), style),
    section('Exit codes', table(EXIT_CODES, style, columns), style),
  ])
}

function usageLine(name: string, specs: readonly ArgumentSpec[]): string {
  const words = specs.map(({ name, optional }) => (optional ? `[${name}]` : `<${name}>`))
  return ['mesh', name, ...words, '[options]'].join(' ')
}

function argumentRow({ name, meaning }: ArgumentSpec): readonly [string, string] {
  return [`<${name}>`, meaning]
}

function optionRows(options: OptionTable): (readonly [string, string])[] {
  return Object.entries(options).map(([name, spec]) => [optionLabel(name, spec), optionMeaning(spec)])
}

function optionLabel(name: string, { short, value }: OptionSpec): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`
}

function optionMeaning({ meaning, fallback, multiple }: OptionSpec): string {
  const notes = [...(fallback === undefined ? [] : [`default ${fallback}`]), ...(multiple ? ['repeatable'] : [])]
  return notes.length === 0 ? meaning : `${meaning} (${notes.join('; ')})`
}

function exampleLines(examples: readonly Example[], style: Style): string[] {
  return examples.flatMap(({ command, meaning }) => [`  ${style.dim(`# ${meaning}`)}`, `  ${command}`])
}

/** Two columns; a label wider than the column has its meaning on the next line. */
function table(rows: readonly (readonly [string, string])[], style: Style, columns: number): string[] {
  const widest = Math.max(...rows.map(([label]) => label.length).filter((length) => length <= WIDEST_LABEL), 0)
  const indent = ' '.repeat(widest + 4)
  const meaningWidth = Math.max(columns - indent.length, MIN_MEANING_WIDTH)
  return rows.flatMap(([label, meaning]) => {
    const [first = '', ...rest] = wrap(meaning, meaningWidth).split('\n')
    const lines = label.length > widest ? [`  ${style.bold(label)}`, indent + first] : [labelled(label, first)]
    return [...lines, ...rest.map((line) => indent + line)]
  })

  function labelled(label: string, first: string): string {
    return `  ${style.bold(label)}${' '.repeat(widest - label.length + 2)}${first}`
  }
}

function section(title: string, lines: readonly string[], style: Style): string {
  return [style.heading(title), ...lines].join('\n')
}

function sections(parts: readonly string[]): string {
  return `${parts.join('\n\n')}\n`
}
