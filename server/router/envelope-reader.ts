import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { RoutedEnvelope } from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { ProtoReader, UnusualMessage, WIRE_LENGTH, WIRE_VARINT } from '../wire/proto-reader.ts'
import { type OutgoingEnvelope, routedEnvelope } from './envelope.ts'

const EMPTY = new Uint8Array()

/** Where a field's value is in a message. */
class Span {
  at = 0
  length = 0

  take(reader: ProtoReader): void {
    this.length = reader.span()
    this.at = reader.valueAt
  }

  clear(): void {
    this.at = 0
    this.length = 0
  }

  of(bytes: Uint8Array): Uint8Array {
    // Not `subarray`: that of a Buffer takes three times as long.
    return new Uint8Array(bytes.buffer, bytes.byteOffset + this.at, this.length)
  }
}

/** Makes map keys of bytes that are mostly the same as last time. */
class RepeatedKey {
  #bytes: Uint8Array = EMPTY
  #key: ByteKey = ''

  of(message: Uint8Array, span: Span): ByteKey {
    if (!isAt(message, span, this.#bytes)) {
      this.#bytes = span.of(message).slice()
      this.#key = byteKey(this.#bytes)
    }
    return this.#key
  }
}

/** The keys of the last envelope that came the same way: the next one usually goes to the same recipient. */
export class EnvelopeKeys {
  readonly to = new RepeatedKey()
  readonly topic = new RepeatedKey()
  readonly toSession = new RepeatedKey()
  readonly from = new RepeatedKey()
}

/**
 * Routing fields of a serialised Envelope from a client; the payload is measured, not read. What is returned is a complete
 * protobuf message, so that fields can be appended to it. @throws UnusualMessage
 */
export function readEnvelope(bytes: Uint8Array, keys: EnvelopeKeys): OutgoingEnvelope {
  return new ReadEnvelope(readFields(bytes), bytes, keys)
}

/** A class, not a literal: it lives as long as the envelope is on its way, see `StampedEnvelope`. */
class ReadEnvelope implements OutgoingEnvelope {
  readonly id: Uint8Array
  readonly to: ByteKey
  readonly topicKey: ByteKey
  readonly toSession: ByteKey
  readonly ttlMs: number
  readonly payloadBytes: number
  readonly bytes: Uint8Array

  constructor({ id, to, topic, toSession, ttlMs, payload }: Fields, bytes: Uint8Array, keys: EnvelopeKeys) {
    this.id = id.of(bytes)
    this.to = keys.to.of(bytes, to)
    this.topicKey = keys.topic.of(bytes, topic)
    this.toSession = keys.toSession.of(bytes, toSession)
    this.ttlMs = ttlMs
    this.payloadBytes = payload.length
    this.bytes = bytes
  }
}

/**
 * The same of an Envelope that a server has stamped. `bytes` are kept as they are, as a view.
 * @throws MeshError INVALID_ARGUMENT when they are no Envelope.
 */
export function readStamped(bytes: Uint8Array, keys: EnvelopeKeys): RoutedEnvelope {
  let fields: Fields
  try {
    fields = readFields(bytes)
  } catch (error) {
    if (!(error instanceof UnusualMessage)) throw error
    return decodeStamped(bytes)
  }
  const { id, to, topic, toSession, ttlMs, payload, from } = fields
  return {
    id: id.of(bytes),
    from: keys.from.of(bytes, from),
    to: keys.to.of(bytes, to),
    topicKey: keys.topic.of(bytes, topic),
    toSession: keys.toSession.of(bytes, toSession),
    ttlMs,
    payloadBytes: payload.length,
    bytes,
  }
}

class Fields {
  readonly id = new Span()
  readonly to = new Span()
  readonly topic = new Span()
  readonly toSession = new Span()
  readonly payload = new Span()
  readonly from = new Span()
  ttlMs = 0

  clear(): void {
    this.id.clear()
    this.to.clear()
    this.topic.clear()
    this.toSession.clear()
    this.payload.clear()
    this.from.clear()
    this.ttlMs = 0
  }
}

/** Used again for every envelope: views and objects cost more than reading does. */
const FIELDS = new Fields()

const MAX_UINT32 = 0xffff_ffff
const LAST_ENVELOPE_FIELD = 15

/** Valid until the next call. Of a field that comes twice, the last value counts. @throws UnusualMessage */
function readFields(bytes: Uint8Array): Fields {
  const fields = FIELDS
  fields.clear()
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    const { field, wireType } = reader
    if (wireType === WIRE_LENGTH) {
      if (field === 1) fields.id.take(reader)
      else if (field === 2) fields.to.take(reader)
      else if (field === 3) fields.topic.take(reader)
      else if (field === 4) fields.toSession.take(reader)
      else if (field === 6) fields.payload.take(reader)
      else if (field === 14) fields.from.take(reader)
      else if (field === 5) throw new UnusualMessage()
      else reader.skip()
    } else if (field === 5 && wireType === WIRE_VARINT) {
      fields.ttlMs = reader.varint()
      if (fields.ttlMs > MAX_UINT32) throw new UnusualMessage()
    } else if (field <= LAST_ENVELOPE_FIELD) {
      throw new UnusualMessage()
    } else {
      reader.skip()
    }
  }
  return fields
}

function decodeStamped(bytes: Uint8Array): RoutedEnvelope {
  try {
    return routedEnvelope(fromBinary(EnvelopeSchema, bytes))
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the envelope is not a protobuf message', { cause })
  }
}

/** For public bytes of a few dozen: quicker than a call into native code, and not constant in time. */
function isAt(message: Uint8Array, { at, length }: Span, expected: Uint8Array): boolean {
  if (length !== expected.byteLength) return false
  for (let i = 0; i < length; i++) if (message[at + i] !== expected[i]) return false
  return true
}
