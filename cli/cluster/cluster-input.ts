import type { CommandContext } from '../command.ts'
import { LineReader } from '../terminal/line-reader.ts'
import { type ClusterCommand, CommandKeys, parseCommand } from './cluster-commands.ts'
import type { ClusterDisplay } from './cluster-display.ts'

/**
 * Hands every command to `obey`: keys where somebody presses them, lines elsewhere. `ended` is called at the end of stdin.
 * The returned function gives stdin back. Idempotent.
 */
export function readCommands(
  { stdin, stdout, output, interrupts }: CommandContext,
  servers: number,
  display: ClusterDisplay,
  { obey, ended }: { readonly obey: (command: ClusterCommand) => void; readonly ended: () => void },
): () => void {
  const onInterrupt = (): void => interrupts.trigger('SIGINT')
  if (output.interactive && stdin.isTTY) return readKeys(stdin, servers, display, obey, onInterrupt)
  const reader = new LineReader({ stdin, stdout, output, prompt: '', onInterrupt })
  const read = async (): Promise<void> => {
    for await (const line of reader.lines()) {
      if (line.trim() === '') continue
      const command = parseCommand(line, servers)
      if (typeof command === 'string') display.problem(command)
      else obey(command)
    }
    ended()
  }
  void read()
  return () => reader.close()
}

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'

function readKeys(
  stdin: NodeJS.ReadStream,
  servers: number,
  display: ClusterDisplay,
  obey: (command: ClusterCommand) => void,
  onInterrupt: () => void,
): () => void {
  const keys = new CommandKeys(servers)
  const onData = (text: string): void => {
    for (const key of text) {
      if (key === CTRL_C) onInterrupt()
      else if (key === CTRL_D) obey({ verb: 'quit' })
      const command = keys.press(key)
      display.question(keys.question)
      if (command !== undefined) obey(command)
    }
  }
  stdin.setRawMode(true)
  stdin.setEncoding('utf8').on('data', onData)
  return () => {
    stdin.off('data', onData)
    stdin.setRawMode(false)
    stdin.pause()
  }
}
