import { createInterface, type Interface } from 'node:readline'
import type { Output } from './output.ts'

export interface LineReaderOptions {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WritableStream
  readonly output: Output
  readonly prompt: string
  /** Ctrl+C at the prompt. */
  readonly onInterrupt: () => void
}

/**
 * Lines from stdin. On a terminal they are typed at a prompt that stays below everything that is printed meanwhile;
 * otherwise they are read as they come. The iteration ends at the end of input (Ctrl+D) or at `close`.
 */
export class LineReader {
  /** Whether somebody types. */
  readonly interactive: boolean
  readonly #options: LineReaderOptions
  #lines: Interface | undefined
  #closed = false

  constructor(options: LineReaderOptions) {
    this.#options = options
    this.interactive = options.stdin.isTTY === true && options.output.interactive
  }

  /** To be called once. Nothing is read before, so nothing is lost. */
  async *lines(): AsyncIterableIterator<string> {
    if (this.#closed) return
    const lines = this.#open()
    const unstick = this.interactive ? this.#stick(lines) : () => {}
    lines.once('close', unstick)
    try {
      for await (const line of lines) {
        yield line
        if (this.interactive && !this.#closed) lines.prompt()
      }
    } finally {
      this.close()
    }
  }

  /** Ends the iteration and lets go of stdin. Idempotent. */
  close(): void {
    this.#closed = true
    this.#lines?.close()
  }

  #open(): Interface {
    const { stdin, stdout, prompt, onInterrupt } = this.#options
    const lines = createInterface({
      input: stdin,
      terminal: this.interactive,
      ...(this.interactive && { output: stdout, prompt }),
    })
    lines.on('SIGINT', onInterrupt)
    this.#lines = lines
    return lines
  }

  /** A line that is typed may be longer than the screen is wide: the cursor is then some rows below the prompt. */
  #stick(lines: Interface): () => void {
    const { output } = this.#options
    let rows = 0
    return output.stick({
      clear: () => {
        rows = lines.getCursorPos().rows
        output.raw(`${rows > 0 ? `\u001b[${rows}A` : ''}\r\u001b[J`)
      },
      draw: () => {
        // readline goes up by as many rows as its cursor was below the prompt.
        output.raw('\n'.repeat(rows))
        lines.prompt(true)
      },
    })
  }
}

/** Asks one question that is answered by y or n; anything else is no. Rejects with the signal's reason. */
export async function confirm(
  question: string,
  {
    stdin,
    stdout,
    onInterrupt,
    signal,
  }: Omit<LineReaderOptions, 'output' | 'prompt'> & { readonly signal: AbortSignal },
): Promise<boolean> {
  signal.throwIfAborted()
  const lines = createInterface({ input: stdin, output: stdout, terminal: true })
  lines.on('SIGINT', onInterrupt)
  try {
    return await new Promise<boolean>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      lines.on('close', () => resolve(false))
      lines.question(question, (answer) => resolve(/^y(es)?$/i.test(answer.trim())))
    })
  } finally {
    lines.close()
  }
}
