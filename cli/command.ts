import type { ArgumentRules, ArgumentSpec, Input, OptionTable } from './args.ts'
import type { ExitCode } from './exit-code.ts'
import type { Interrupts } from './interrupts.ts'
import type { Output } from './terminal/output.ts'

/** What a command works with. Nothing in a command reaches for `process` itself. */
export interface CommandContext {
  readonly input: Input
  readonly output: Output
  readonly stdin: NodeJS.ReadStream
  /** For prompts; everything else goes through `output`. */
  readonly stdout: NodeJS.WritableStream
  readonly env: Readonly<Record<string, string | undefined>>
  /** Runs this program again, followed by a command. */
  readonly program: readonly string[]
  /** Ctrl+C and SIGTERM. */
  readonly interrupts: Interrupts
}

export interface Example {
  readonly command: string
  readonly meaning: string
}

/** One command of `mesh`: what it accepts, what its help says, and what it does. */
export interface Command {
  /** One paragraph. */
  readonly description: string
  readonly arguments: readonly ArgumentSpec[]
  readonly options: OptionTable
  readonly examples: readonly Example[]
  /** Resolves to the exit code; throws what `describeFailure` puts into words. */
  run(context: CommandContext): Promise<ExitCode>
}

/** A command as the list of commands knows it; its module is loaded when it is called. */
export interface CommandEntry {
  readonly summary: string
  load(): Promise<Command>
}

/** Options of every command. */
export const COMMON_OPTIONS: OptionTable = {
  json: { meaning: 'print one JSON object per line instead of text' },
  help: { short: 'h', meaning: 'show this help' },
}

/** What the parser needs to know about a command. */
export function rulesOf(name: string, command: Command): ArgumentRules {
  return {
    usage: `mesh ${name}`,
    arguments: command.arguments,
    options: { ...command.options, ...COMMON_OPTIONS },
  }
}
