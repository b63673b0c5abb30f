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
  left: boolean
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

  /** Everything from now on, not from the first `next` on: what is not taken is held, and in the end holds senders back. */
  read(signal: AbortSignal | undefined): AsyncIterableIterator<Message> {
    const reader: Reader = { buffer: [], wake: () => {}, left: false }
    const leave = () => {
      signal?.removeEventListener('abort', leave)
      reader.left = true
      reader.wake()
      this.#readers.delete(reader)
      this.#release()
    }
    this.#readers.add(reader)
    signal?.addEventListener('abort', leave)
    if (signal?.aborted) leave()
    const messages = this.#take(reader, signal)
    return {
      next: () => messages.next(),
      // Not the generator's own: that one waits for a `next` under way, which may wait for ever.
      return: async () => {
        leave()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  async *#take(reader: Reader, signal: AbortSignal | undefined): AsyncGenerator<Message, void, undefined> {
    for (;;) {
      if (signal?.aborted) throw abortError(signal)
      if (reader.left) return
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
  }

  #release(): void {
    if ([...this.#readers].some(({ buffer }) => buffer.length >= MAX_BUFFERED)) return
    const waiting = this.#room
    this.#room = []
    for (const resolve of waiting) resolve()
  }
}
