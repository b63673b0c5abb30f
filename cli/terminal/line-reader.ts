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
  readonly #lines: Interface
  readonly #output: Output
  readonly #prompt: string
  #unstick = (): void => {}

  constructor({ stdin, stdout, output, prompt, onInterrupt }: LineReaderOptions) {
    this.interactive = stdin.isTTY === true && output.interactive
    this.#output = output
    this.#prompt = prompt
    this.#lines = createInterface({
      input: stdin,
      terminal: this.interactive,
      ...(this.interactive && { output: stdout, prompt }),
    })
    this.#lines.on('SIGINT', onInterrupt)
  }

  async *lines(): AsyncIterableIterator<string> {
    this.#unstick = this.interactive ? this.#stick() : () => {}
    try {
      for await (const line of this.#lines) {
        yield line
        if (this.interactive) this.#lines.prompt()
      }
    } finally {
      this.#unstick()
    }
  }

  /** Ends the iteration and lets go of stdin. Idempotent. */
  close(): void {
    this.#unstick()
    this.#lines.close()
  }

  /** A line that is typed may be longer than the screen is wide: the cursor is then some rows below the prompt. */
  #stick(): () => void {
    let rows = 0
    return this.#output.stick({
      clear: () => {
        rows = this.#lines.getCursorPos().rows
        this.#output.raw(`${rows > 0 ? `\u001b[${rows}A` : ''}\r\u001b[J`)
      },
      draw: () => {
        // readline goes up by as many rows as its cursor was below the prompt.
        this.#output.raw('\n'.repeat(rows))
        this.#lines.setPrompt(this.#prompt)
        this.#lines.prompt(true)
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
