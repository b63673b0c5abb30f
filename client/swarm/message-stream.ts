import { abortError } from '../delay.ts'
import type { Message } from './message.ts'

/**
 * `for await` over messages. Each iterator holds at most 1,024 messages that its loop has not taken; at that point the
 * channels they come from are not read any further, and the senders wait.
 */
const MAX_BUFFERED = 1_024

interface Reader {
  readonly buffer: Message[]
  wake: () => void
}

export class MessageStream {
  readonly #readers = new Set<Reader>()
  #room: (() => void)[] = []
  #ended = false

  /** Gives a message to every iterator; the promise (if any) resolves when all have room for another. */
  push(message: Message): Promise<void> | undefined {
    let full = false
    for (const reader of this.#readers) {
      reader.buffer.push(message)
      reader.wake()
      full ||= reader.buffer.length >= MAX_BUFFERED
    }
    return full ? new Promise((resolve) => this.#room.push(resolve)) : undefined
  }

  /** Ends every iterator after what it holds. */
  end(): void {
    this.#ended = true
    for (const reader of this.#readers) reader.wake()
    this.#release()
  }

  async *read(signal: AbortSignal | undefined): AsyncGenerator<Message, void, undefined> {
    const reader: Reader = { buffer: [], wake: () => {} }
    this.#readers.add(reader)
    const onAbort = () => reader.wake()
    signal?.addEventListener('abort', onAbort)
    try {
      for (;;) {
        if (signal?.aborted) throw abortError(signal)
        const message = reader.buffer.shift()
        if (message) {
          this.#release()
          yield message
        } else if (this.#ended) {
          return
        } else {
          await new Promise<void>((resolve) => {
            reader.wake = resolve
          })
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#readers.delete(reader)
      this.#release()
    }
  }

  #release(): void {
    if ([...this.#readers].some(({ buffer }) => buffer.length >= MAX_BUFFERED)) return
    const waiting = this.#room
    this.#room = []
    for (const resolve of waiting) resolve()
  }
}
