import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import { frameBytes } from './frame-size.ts'

export interface MessageOutboxOptions {
  readonly limits: ServerLimits
  /** The reader took what was waiting. */
  readonly onDrain: () => void
}

/**
 * Messages on their way into a call, which asks for the next one when the transport took the last. Overflow: who wrote on
 * although told to wait gets LIMIT_EXCEEDED once `federation_max_queue_bytes` wait.
 */
export class MessageOutbox implements AsyncIterable<readonly Frame[]> {
  readonly #options: MessageOutboxOptions
  readonly #waiting: (readonly Frame[])[] = []
  #waitingBytes = 0
  #reader: { resolve(result: IteratorResult<readonly Frame[]>): void; reject(error: unknown): void } | undefined
  #end: { readonly error: unknown } | undefined

  constructor(options: MessageOutboxOptions) {
    this.#options = options
  }

  /** False when the message has to wait. Ignored after the end. @throws MeshError LIMIT_EXCEEDED (federation_max_queue_bytes). */
  write(frames: readonly Frame[]): boolean {
    if (this.#end !== undefined) return false
    const reader = this.#reader
    if (reader !== undefined) {
      this.#reader = undefined
      reader.resolve({ done: false, value: frames })
      return true
    }
    const { federationMaxQueueBytes } = this.#options.limits
    const bytes = this.#waitingBytes + messageBytes(frames)
    if (bytes > federationMaxQueueBytes) {
      throw limitError('federationMaxQueueBytes', federationMaxQueueBytes, { value: bytes })
    }
    this.#waitingBytes = bytes
    this.#waiting.push(frames)
    return false
  }

  /** What waits still goes; then the sequence ends, with the error if there is one. Idempotent. */
  end(error?: unknown): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    const reader = this.#reader
    this.#reader = undefined
    if (reader === undefined) return
    if (error === undefined) reader.resolve({ done: true, value: undefined })
    else reader.reject(error)
  }

  [Symbol.asyncIterator](): AsyncIterator<readonly Frame[]> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.end()
        this.#waiting.length = 0
        return { done: true, value: undefined }
      },
    }
  }

  #next(): Promise<IteratorResult<readonly Frame[]>> {
    const frames = this.#waiting.shift()
    if (frames !== undefined) {
      this.#waitingBytes -= messageBytes(frames)
      if (this.#waiting.length === 0 && this.#end === undefined) this.#options.onDrain()
      return Promise.resolve({ done: false, value: frames })
    }
    if (this.#end?.error !== undefined) return Promise.reject(this.#end.error)
    if (this.#end !== undefined) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }
}

function messageBytes(frames: readonly Frame[]): number {
  let bytes = 0
  for (const frame of frames) bytes += frameBytes(frame)
  return bytes
}
