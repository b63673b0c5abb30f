import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { Channel, Peer } from '@mesh/client'
import { type Clock, ErrorReason, MeshError, utf8Encode } from '@mesh/core'
import { type FileMessage, FileMessageSchema } from '@mesh/protocol/mesh/app/v1/file_pb'
import { Interrupted } from '../failure.ts'

/** Name of the channel a file travels on: see proto/mesh/app/v1/file.proto, which also has the order of messages. */
export const FILE_CHANNEL = 'mesh/file'

/** FileMessage.chunk. */
export const MAX_CHUNK_BYTES = 64 * 1_024
/** One chunk, and 1 KiB for the rest. */
const MAX_MESSAGE_BYTES = MAX_CHUNK_BYTES + 1_024
const MAX_NAME_BYTES = 255
const MAX_MEDIA_TYPE_BYTES = 127
const SHA256_BYTES = 32

/** What a FileMessage says. */
export type FileBody = Exclude<FileMessage['body'], { case: undefined }>
type FileBodyInit = NonNullable<MessageInitShape<typeof FileMessageSchema>['body']>
type BodyOf<Case extends FileBody['case']> = Extract<FileBody, { case: Case }>

export interface WaitOptions {
  /** How long the other side may take. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** A "mesh/file" channel as a sequence of checked messages. Every failure ends the channel on both sides. */
export class FileChannel {
  readonly #channel: Channel
  readonly #clock: Clock
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel
    this.#clock = clock
    this.#reader = channel.readable.getReader()
    this.#writer = channel.writable.getWriter()
    // Failures reach whoever reads or writes; these promises are nobody's.
    this.#reader.closed.catch(() => undefined)
    this.#writer.closed.catch(() => undefined)
  }

  get peer(): Peer {
    return this.#channel.peer
  }

  /** Settles when the channel is over; see Channel.closed. */
  get closed(): Promise<MeshError | undefined> {
    return this.#channel.closed
  }

  /** Sends one message. Resolves when there is room for the next one; rejects with why the channel ended. */
  async send(body: FileBodyInit): Promise<void> {
    await this.#writer.write(toBinary(FileMessageSchema, create(FileMessageSchema, { body })))
  }

  /**
   * The next message, which must be one of `expected`. Rejects with INVALID_ARGUMENT for any other and for one over its
   * bounds, with DEADLINE_EXCEEDED, with the reason of the signal, or with why the channel ended.
   */
  async receive<Case extends FileBody['case']>(expected: readonly Case[], options: WaitOptions): Promise<BodyOf<Case>> {
    try {
      const { value, done } = await this.#waitFor(this.#reader.read(), options)
      if (done) throw new MeshError(ErrorReason.CHANNEL_CLOSED, 'the other side ended the transfer early')
      const body = decode(value)
      if ((expected as readonly string[]).includes(body.case)) return body as BodyOf<Case>
      throw invalid(`expected ${expected.join(' or ')}, but got ${body.case}`)
    } catch (error) {
      this.abort(error)
      throw error
    }
  }

  /** Ends this direction; resolves when the other side has everything that was sent. */
  async finish(): Promise<void> {
    await this.#channel.close()
  }

  /** Ends the channel now; the other side learns the kind of reason, and nothing of this machine. Harmless on one that is over. */
  abort(error: unknown): void {
    this.#channel.abort(publicReason(error))
  }

  #waitFor<T>(promise: Promise<T>, { timeoutMs, signal }: WaitOptions): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const expire = (): void => {
        const message = `the other side said nothing for ${timeoutMs / 1_000} s`
        reject(new MeshError(ErrorReason.DEADLINE_EXCEEDED, message))
      }
      const timer = this.#clock.schedule(timeoutMs, expire)
      const onAbort = (): void => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      promise.then(resolve, reject).finally(() => {
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
      })
    })
  }
}

/** What may be told to the other side: errors of the file system name paths. */
function publicReason(error: unknown): MeshError {
  if (error instanceof MeshError && error.reason !== ErrorReason.INTERNAL) return error
  if (error instanceof Interrupted) return new MeshError(ErrorReason.ABORTED, 'the other side gave up')
  return new MeshError(ErrorReason.INTERNAL, 'the other side failed')
}

function decode(bytes: Uint8Array): FileBody {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw invalid(`a message has ${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES}`)
  }
  let message: FileMessage
  try {
    message = fromBinary(FileMessageSchema, bytes)
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'a message is not a FileMessage', { cause })
  }
  if (message.body.case === undefined) throw invalid('a message is empty')
  checkBounds(message.body)
  return message.body
}

function checkBounds(body: FileBody): void {
  switch (body.case) {
    case 'offer':
      checkLength('name', utf8Encode(body.value.name).length, 1, MAX_NAME_BYTES)
      checkLength('media type', utf8Encode(body.value.mediaType).length, 0, MAX_MEDIA_TYPE_BYTES)
      if (body.value.sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('the size is above 2^53 - 1')
      return
    case 'chunk':
      return checkLength('chunk', body.value.length, 1, MAX_CHUNK_BYTES)
    case 'end':
      return checkLength('checksum', body.value.sha256.length, SHA256_BYTES, SHA256_BYTES)
  }
}

function checkLength(what: string, length: number, min: number, max: number): void {
  if (length < min || length > max) throw invalid(`the ${what} has ${length} bytes, allowed are ${min} to ${max}`)
}

function invalid(message: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `not a file transfer: ${message}`)
}
