import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { RoutedEnvelope } from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { ProtoReader, UnusualMessage, WIRE_LENGTH, WIRE_VARINT } from '../wire/proto-reader.ts'
import { type OutgoingEnvelope, routedEnvelope } from './envelope.ts'

const EMPTY = new Uint8Array()

/** Makes map keys of bytes that are mostly the same as last time. */
class RepeatedKey {
  #bytes: Uint8Array = EMPTY
  #key: ByteKey = ''

  of(bytes: Uint8Array): ByteKey {
    if (!sameBytes(bytes, this.#bytes)) {
      this.#bytes = bytes.slice()
      this.#key = byteKey(bytes)
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

  constructor({ id, to, topic, toSession, ttlMs, payloadBytes }: Fields, bytes: Uint8Array, keys: EnvelopeKeys) {
    this.id = id
    this.to = keys.to.of(to)
    this.topicKey = keys.topic.of(topic)
    this.toSession = keys.toSession.of(toSession)
    this.ttlMs = ttlMs
    this.payloadBytes = payloadBytes
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
  const { id, to, topic, toSession, ttlMs, payloadBytes, from } = fields
  return {
    id,
    from: keys.from.of(from),
    to: keys.to.of(to),
    topicKey: keys.topic.of(topic),
    toSession: keys.toSession.of(toSession),
    ttlMs,
    payloadBytes,
    bytes,
  }
}

interface Fields {
  id: Uint8Array
  to: Uint8Array
  topic: Uint8Array
  toSession: Uint8Array
  ttlMs: number
  payloadBytes: number
  from: Uint8Array
}

const MAX_UINT32 = 0xffff_ffff
const LAST_ENVELOPE_FIELD = 15

/** Of a field that comes twice, the last value counts. @throws UnusualMessage */
function readFields(bytes: Uint8Array): Fields {
  const fields: Fields = {
    id: EMPTY,
    to: EMPTY,
    topic: EMPTY,
    toSession: EMPTY,
    ttlMs: 0,
    payloadBytes: 0,
    from: EMPTY,
  }
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    const { field, wireType } = reader
    if (wireType === WIRE_LENGTH) {
      const value = reader.bytes()
      if (field === 1) fields.id = value
      else if (field === 2) fields.to = value
      else if (field === 3) fields.topic = value
      else if (field === 4) fields.toSession = value
      else if (field === 6) fields.payloadBytes = value.byteLength
      else if (field === 14) fields.from = value
      else if (field === 5) throw new UnusualMessage()
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
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false
  return true
}
