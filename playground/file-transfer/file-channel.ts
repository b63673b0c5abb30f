import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Channel, ErrorReason, MeshError } from '@mesh/client'
import { type FileMessage, FileMessageSchema } from '@mesh/protocol/mesh/app/v1/file_pb'

/** Channels of this name carry one file each (see file.proto). */
export const FILE_CHANNEL_NAME = 'mesh/file'

export const MAX_CHUNK_BYTES = 65_536
export const MAX_NAME_BYTES = 255
export const MAX_MEDIA_TYPE_BYTES = 127
/** A chunk, and 1 KiB for the rest. */
const MAX_FILE_MESSAGE_BYTES = MAX_CHUNK_BYTES + 1_024

export type FileBody = Exclude<FileMessage['body'], { case: undefined }>
export type FileBodyOf<Case extends FileBody['case']> = Extract<FileBody, { case: Case }>['value']

/** The messages of one file, in order; whatever is not expected resets the channel. */
export class FileChannel {
  readonly #channel: Channel
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>

  constructor(channel: Channel) {
    this.#channel = channel
    this.#reader = channel.readable.getReader()
    this.#writer = channel.writable.getWriter()
    // Failures surface in the read or write that meets them.
    this.#writer.closed.catch(() => {})
    this.#reader.closed.catch(() => {})
  }

  get peer(): Channel['peer'] {
    return this.#channel.peer
  }

  /** Settles when the channel is over; see Channel.closed. */
  get closed(): Promise<MeshError | undefined> {
    return this.#channel.closed
  }

  /** Resolves when the channel takes more. */
  async send(body: FileBody): Promise<void> {
    await this.#writer.write(toBinary(FileMessageSchema, create(FileMessageSchema, { body })))
  }

  /** The next message. Rejects with INVALID_ARGUMENT when it is malformed, CHANNEL_CLOSED when none follows. */
  async receive(): Promise<FileBody> {
    const { value, done } = await this.#reader.read()
    if (done) throw new MeshError(ErrorReason.CHANNEL_CLOSED, 'the other side ended the transfer early')
    if (value.length > MAX_FILE_MESSAGE_BYTES) {
      throw unexpected(`a file message has ${value.length} bytes, at most ${MAX_FILE_MESSAGE_BYTES}`)
    }
    const { body } = decode(value)
    if (body.case === undefined) throw unexpected('a file message is empty')
    return body
  }

  /** The next message, which must be of this kind. */
  async expect<Case extends FileBody['case']>(kind: Case): Promise<FileBodyOf<Case>> {
    const body = await this.receive()
    if (body.case !== kind) throw unexpected(`expected the ${kind} of a file, got its ${body.case}`)
    return body.value as FileBodyOf<Case>
  }

  /** Ends this direction; the other side may still send. */
  async end(): Promise<void> {
    await this.#writer.close()
  }

  /** Gives up: both directions end, and the other side gets the reason. Harmless when the channel is over. */
  abort(error: MeshError): void {
    this.#channel.abort(error)
  }
}

function decode(bytes: Uint8Array): FileMessage {
  try {
    return fromBinary(FileMessageSchema, bytes)
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'a file message is malformed', { cause })
  }
}

/** A message the protocol does not allow here. */
export function unexpected(message: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, message)
}
