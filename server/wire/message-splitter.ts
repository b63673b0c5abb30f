/** Flags and u32 length before every message of a stream (gRPC, gRPC-Web, Connect). */
export const FRAME_PREFIX_BYTES = 5

/** One message of a stream; its bytes are a view of what was pushed, where they came in one piece. */
export interface SplitMessage {
  readonly flags: number
  readonly bytes: Uint8Array
}

/**
 * Cuts what comes over a stream into its messages. One that came in many chunks is put together once, when the last of them
 * is there. It bounds nothing: who pushes looks at `nextBytes`, or has a meter.
 */
export class MessageSplitter {
  #chunks: Uint8Array[] = []
  #pendingBytes = 0

  /** Bytes that belong to no complete message. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Length of the next message; undefined while its prefix is not complete. */
  get nextBytes(): number | undefined {
    if (this.#pendingBytes < FRAME_PREFIX_BYTES) return undefined
    const head = this.#joined(FRAME_PREFIX_BYTES)
    return new DataView(head.buffer, head.byteOffset).getUint32(1)
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#pendingBytes += chunk.byteLength
  }

  /** The next message, once it is complete. */
  next(): SplitMessage | undefined {
    const length = this.nextBytes
    const end = FRAME_PREFIX_BYTES + (length ?? 0)
    if (length === undefined || this.#pendingBytes < end) return undefined
    const head = this.#joined(end)
    this.#pendingBytes -= end
    if (head.byteLength > end) this.#chunks[0] = head.subarray(end)
    else this.#chunks.shift()
    return { flags: head[0] as number, bytes: head.subarray(FRAME_PREFIX_BYTES, end) }
  }

  /** Forgets what is there. */
  clear(): void {
    this.#chunks = []
    this.#pendingBytes = 0
  }

  /** The first chunk, together with the others when it has less than `bytes`. */
  #joined(bytes: number): Uint8Array {
    const first = this.#chunks[0] as Uint8Array
    if (first.byteLength >= bytes) return first
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = [joined]
    return joined
  }
}
