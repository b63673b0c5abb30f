import type { MeshError } from '@mesh/core'
import { piecesOf } from '../../../http2-pieces.ts'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'

/** Where the bytes of a call go. */
export interface PieceSink {
  /** Calls `done` when the transport took the piece. */
  write(piece: Uint8Array, done: () => void): void
  end(error: MeshError | undefined): void
}

export interface PieceWriterOptions {
  readonly limits: ServerLimits
  /** The last message that waited is on its way. */
  readonly onDrain: () => void
}

/**
 * Messages on their way into a call, one piece at a time (see `piecesOf`). Overflow: who wrote on although told to wait gets
 * LIMIT_EXCEEDED once `federation_max_queue_bytes` wait.
 */
export class PieceWriter {
  readonly #options: PieceWriterOptions
  readonly #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #sink: PieceSink | undefined
  #isWriting = false
  #end: { readonly error: MeshError | undefined } | undefined

  constructor(options: PieceWriterOptions) {
    this.#options = options
  }

  /** The transport is there. */
  open(sink: PieceSink): void {
    this.#sink = sink
    this.#next()
  }

  /** False when the message has to wait. Ignored after the end. @throws MeshError LIMIT_EXCEEDED federation_max_queue_bytes */
  write(message: Uint8Array): boolean {
    if (this.#end !== undefined) return false
    if (this.#sink !== undefined && !this.#isWriting) {
      this.#writeAll(this.#sink, message)
      return true
    }
    const { federationMaxQueueBytes } = this.#options.limits
    const bytes = this.#waitingBytes + message.length
    if (bytes > federationMaxQueueBytes) {
      throw limitError('federationMaxQueueBytes', federationMaxQueueBytes, { value: bytes })
    }
    this.#waitingBytes = bytes
    this.#waiting.push(message)
    return false
  }

  /** What waits still goes; then the sink is ended. Idempotent. */
  end(error: MeshError | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    if (!this.#isWriting) this.#next()
  }

  #next(): void {
    const sink = this.#sink
    if (sink === undefined) return
    const message = this.#waiting.shift()
    if (message === undefined) {
      if (this.#end !== undefined) sink.end(this.#end.error)
      return
    }
    this.#waitingBytes -= message.length
    this.#writeAll(sink, message)
    if (this.#waiting.length === 0 && this.#end === undefined) this.#options.onDrain()
  }

  #writeAll(sink: PieceSink, message: Uint8Array): void {
    const pieces = piecesOf(message)
    this.#isWriting = true
    const next = (): void => {
      const piece = pieces.next()
      if (piece.done !== true) {
        sink.write(piece.value, next)
        return
      }
      this.#isWriting = false
      this.#next()
    }
    next()
  }
}
