import { type Channel, ErrorReason, MeshError } from '@mesh/client'
import { FileOutcome, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { sha256 } from '@noble/hashes/sha2.js'
import { sameChecksum, toHex } from './checksum.ts'
import {
  type FileBodyOf,
  FileChannel,
  MAX_CHUNK_BYTES,
  MAX_MEDIA_TYPE_BYTES,
  MAX_NAME_BYTES,
  unexpected,
} from './file-channel.ts'
import { safeName } from './file-name.ts'

/** Where the bytes of a file go. */
export interface FileSink {
  /** The next bytes; the transfer waits for the promise. A rejection is answered with NOT_STORED. */
  write(chunk: Uint8Array): void | Promise<void>
  /** Everything has arrived and its checksum is right. */
  finish(): void | Promise<void>
}

export interface AcceptOptions {
  readonly onProgress?: (receivedBytes: number) => void
  /** Called off: the sender sees ABORTED. */
  readonly signal?: AbortSignal
}

export type ReceiveFileResult =
  | { readonly kind: 'stored'; readonly checksum: string }
  | { readonly kind: 'not-stored'; readonly why: 'size' | 'checksum' | 'storage' }

/** A file somebody wants to send: accept or refuse it, once. */
export class FileOffer {
  /** Safe to show and to save under. */
  readonly name: string
  /** As the sender says; no more than that is taken. */
  readonly sizeBytes: number
  readonly mediaType: string
  readonly #file: FileChannel

  constructor(file: FileChannel, offer: FileBodyOf<'offer'>) {
    this.#file = file
    this.name = safeName(offer.name)
    this.sizeBytes = Number(offer.sizeBytes)
    this.mediaType = offer.mediaType
  }

  get peer(): Channel['peer'] {
    return this.#file.peer
  }

  /** Settles when the sender withdraws the offer, or the transfer is over. Never rejects. */
  get closed(): Promise<MeshError | undefined> {
    return this.#file.closed
  }

  async refuse(why: 'declined' | 'too-large' | 'busy'): Promise<void> {
    const verdicts = { declined: FileVerdict.DECLINED, 'too-large': FileVerdict.TOO_LARGE, busy: FileVerdict.BUSY }
    await this.#file.send({ case: 'answer', value: { $typeName: 'mesh.app.v1.FileAnswer', verdict: verdicts[why] } })
    await this.#file.end()
  }

  /** Takes the file into `sink`. Rejects with ABORTED, INVALID_ARGUMENT or why the channel failed. */
  async accept(sink: FileSink, options: AcceptOptions = {}): Promise<ReceiveFileResult> {
    const file = this.#file
    const abort = () => file.abort(new MeshError(ErrorReason.ABORTED, 'the transfer was called off'))
    options.signal?.addEventListener('abort', abort)
    try {
      options.signal?.throwIfAborted()
      const value = { $typeName: 'mesh.app.v1.FileAnswer' as const, verdict: FileVerdict.ACCEPTED }
      await file.send({ case: 'answer', value })
      const { outcome, checksum } = await this.#take(sink, options)
      await file.send({ case: 'result', value: { $typeName: 'mesh.app.v1.FileResult', outcome } })
      await file.end()
      return outcome === FileOutcome.STORED
        ? { kind: 'stored', checksum }
        : { kind: 'not-stored', why: reasons[outcome] ?? 'storage' }
    } catch (cause) {
      const error = MeshError.from(cause)
      file.abort(error)
      throw error
    } finally {
      options.signal?.removeEventListener('abort', abort)
    }
  }

  async #take(sink: FileSink, { onProgress }: AcceptOptions): Promise<{ outcome: FileOutcome; checksum: string }> {
    const hash = sha256.create()
    const storage = new Storage(sink)
    let receivedBytes = 0
    for (;;) {
      const body = await this.#file.receive()
      if (body.case === 'end') {
        const digest = hash.digest()
        const checksum = toHex(digest)
        if (body.value.sha256.length !== digest.length) throw unexpected('the checksum of a file has not 32 bytes')
        if (receivedBytes !== this.sizeBytes) return { outcome: FileOutcome.SIZE_MISMATCH, checksum }
        if (!sameChecksum(digest, body.value.sha256)) return { outcome: FileOutcome.CHECKSUM_MISMATCH, checksum }
        return { outcome: await storage.finish(), checksum }
      }
      if (body.case !== 'chunk') throw unexpected(`expected the next chunk of a file, got its ${body.case}`)
      const { length } = body.value
      if (length === 0 || length > MAX_CHUNK_BYTES) throw unexpected(`a chunk of a file has ${length} bytes`)
      receivedBytes += length
      if (receivedBytes > this.sizeBytes) throw unexpected('a file is longer than its offer said')
      hash.update(body.value)
      await storage.write(body.value)
      onProgress?.(receivedBytes)
    }
  }
}

/** Reads the offer of a channel somebody opened. Rejects, after resetting the channel, when there is no valid one. */
export async function receiveOffer(channel: Channel): Promise<FileOffer> {
  const file = new FileChannel(channel)
  try {
    const offer = await file.expect('offer')
    checkOffer(offer)
    return new FileOffer(file, offer)
  } catch (cause) {
    const error = MeshError.from(cause)
    file.abort(error)
    throw error
  }
}

function checkOffer({ name, sizeBytes, mediaType }: FileBodyOf<'offer'>): void {
  const nameBytes = new TextEncoder().encode(name).length
  if (nameBytes === 0 || nameBytes > MAX_NAME_BYTES) throw unexpected(`a file name has ${nameBytes} bytes`)
  if (sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw unexpected('a file is larger than any file')
  if (mediaType.length > MAX_MEDIA_TYPE_BYTES) throw unexpected(`a media type has ${mediaType.length} characters`)
}

const reasons: Partial<Record<FileOutcome, 'size' | 'checksum' | 'storage'>> = {
  [FileOutcome.SIZE_MISMATCH]: 'size',
  [FileOutcome.CHECKSUM_MISMATCH]: 'checksum',
  [FileOutcome.NOT_STORED]: 'storage',
}

/** A sink that fails is not written to again, and the sender learns of it once, at the end. */
class Storage {
  readonly #sink: FileSink
  #failed = false

  constructor(sink: FileSink) {
    this.#sink = sink
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.#failed) await this.#try(() => this.#sink.write(chunk))
  }

  async finish(): Promise<FileOutcome> {
    if (!this.#failed) await this.#try(() => this.#sink.finish())
    return this.#failed ? FileOutcome.NOT_STORED : FileOutcome.STORED
  }

  async #try(run: () => void | Promise<void>): Promise<void> {
    try {
      await run()
    } catch {
      this.#failed = true // reported as NOT_STORED
    }
  }
}
