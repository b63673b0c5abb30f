import type { FileSink } from '../file-transfer/receive-file.ts'

/** Browsers move blobs out of the page's memory; chunks are handed over in pieces of this size. */
const PIECE_BYTES = 8 * 1024 * 1024

/**
 * Collects a file. Its type is always "bytes": opened by mistake, a file of a peer is never a page of this origin.
 */
export class BlobSink implements FileSink {
  readonly #pieces: Blob[] = []
  #chunks: Uint8Array<ArrayBuffer>[] = []
  #chunkBytes = 0
  #blob: Blob | undefined

  write(chunk: Uint8Array): void {
    this.#chunks.push(chunk as Uint8Array<ArrayBuffer>)
    this.#chunkBytes += chunk.length
    if (this.#chunkBytes >= PIECE_BYTES) this.#moveOut()
  }

  finish(): void {
    this.#moveOut()
    this.#blob = new Blob(this.#pieces, { type: 'application/octet-stream' })
  }

  /** The whole file, once it is finished. */
  get blob(): Blob {
    return this.#blob ?? new Blob()
  }

  #moveOut(): void {
    this.#pieces.push(new Blob(this.#chunks))
    this.#chunks = []
    this.#chunkBytes = 0
  }
}
