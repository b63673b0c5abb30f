import type { Frame, Row } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'

/**
 * How large frames are on the wire, from above and without writing them: byte fields as they are, and for every message,
 * tag, length and number the most it can take.
 */

/** Tag and length of a field, or a whole number: at most 1 + 10 bytes. */
const FIELD_BYTES = 11

/** Two byte tags and five byte lengths around a message in a message. */
const NESTED_BYTES = 7

/** Ten fields without bytes of their own: more than any frame has beside its repeated ones. */
const FRAME_BYTES = 10 * FIELD_BYTES + NESTED_BYTES

/** Bytes of the frame within a message, at most. */
export function frameBytes({ frame }: Frame): number {
  switch (frame.case) {
    case 'rows':
      return FRAME_BYTES + frame.value.origin.length + sum(frame.value.rows, rowBytes)
    case 'envelopes':
      return (
        FRAME_BYTES +
        sum(frame.value.envelopes, ({ envelope, destination }) => routedEnvelopeBytes(envelope, destination))
      )
    case 'receipts':
      return FRAME_BYTES + sum(frame.value.receipts, ({ error }) => 6 * FIELD_BYTES + textBytes(error?.limit))
    case 'originState': {
      const { origin, digest, signed } = frame.value
      return FRAME_BYTES + origin.length + digest.length + signedBytes(signed?.statement, signed?.signature)
    }
    case 'pull':
      return FRAME_BYTES + (frame.value.after?.origin.length ?? 0)
    case 'interest': {
      const topics = [...frame.value.addedTopics, ...frame.value.removedTopics]
      return FRAME_BYTES + sum(topics, ({ length }) => FIELD_BYTES + length)
    }
    case 'hello': {
      const { have, realm, serverKey, challenge } = frame.value
      const positions = sum(have, ({ origin }) => 3 * FIELD_BYTES + origin.length)
      return 2 * FRAME_BYTES + positions + textBytes(realm) + serverKey.length + challenge.length
    }
    case 'proof':
      return FRAME_BYTES + signedBytes(frame.value.proof?.statement, frame.value.proof?.signature)
    case 'goaway':
      return FRAME_BYTES + textBytes(frame.value.error?.limit)
    default:
      return FRAME_BYTES
  }
}

/** Bytes of one row within its frame, at most. */
export function rowBytes({ topic, peerKey, record }: Row): number {
  return 6 * FIELD_BYTES + topic.length + peerKey.length + signedBytes(record?.record, record?.signature)
}

/** Bytes of one envelope within its frame, at most. */
export function routedEnvelopeBytes(envelope: Uint8Array, destination: Uint8Array): number {
  return 3 * FIELD_BYTES + NESTED_BYTES + envelope.length + destination.length
}

function signedBytes(statement: Uint8Array | undefined, signature: Uint8Array | undefined): number {
  return 3 * FIELD_BYTES + (statement?.length ?? 0) + (signature?.length ?? 0)
}

/** UTF-8 has at most three bytes for each UTF-16 unit. */
function textBytes(text: string | undefined): number {
  return 3 * (text?.length ?? 0)
}

function sum<T>(items: readonly T[], bytesOf: (item: T) => number): number {
  let bytes = 0
  for (const item of items) bytes += bytesOf(item)
  return bytes
}
