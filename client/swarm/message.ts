import { ErrorReason, MeshError, utf8Decode, utf8Encode } from '@mesh/core'
import type { Peer } from './peer.ts'

/** What `send` takes: text, bytes (an ArrayBuffer or any view of one), or anything JSON can hold. */
export type MessageData = string | Uint8Array | object

/** A message from a peer. */
export interface Message {
  readonly from: Peer
  readonly bytes: Uint8Array
  /** The message as text. Throws INVALID_ARGUMENT when it is not UTF-8. */
  text(): string
  /** The message as JSON. Throws a SyntaxError when it is none. */
  json(): unknown
}

/** Largest message, sent in pieces: 16 MiB. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

export function receivedMessage(from: Peer, bytes: Uint8Array): Message {
  return { from, bytes, text: () => utf8Decode(bytes), json: () => JSON.parse(utf8Decode(bytes)) }
}

/** Throws MESSAGE_TOO_LARGE above 16 MiB, INVALID_ARGUMENT for what JSON cannot hold. */
export function encodeMessage(data: MessageData): Uint8Array {
  const bytes = toBytes(data)
  if (bytes.length <= MAX_MESSAGE_BYTES) return bytes
  throw new MeshError(
    ErrorReason.MESSAGE_TOO_LARGE,
    `message has ${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES}`,
    {
      limit: 'message_bytes',
      limitValue: MAX_MESSAGE_BYTES,
      value: bytes.length,
    },
  )
}

function toBytes(data: MessageData): Uint8Array {
  if (data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  return utf8Encode(typeof data === 'string' ? data : toJson(data))
}

function toJson(data: object): string {
  try {
    const json: string | undefined = JSON.stringify(data)
    if (json !== undefined) return json
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the message cannot be written as JSON', { cause })
  }
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, `a ${typeof data} cannot be written as JSON`)
}
