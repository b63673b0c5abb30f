import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import {
  ExchangeRequestSchema,
  SendMessageRequestSchema,
  SubscribeRequestSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../byte-key.ts'
import { type OutgoingEnvelope, outgoingEnvelope } from '../../router/envelope.ts'
import { ProtoReader, UnusualMessage, WIRE_LENGTH, WIRE_VARINT } from '../../wire/proto-reader.ts'

/** An ExchangeRequest; a SendMessageRequest is one with envelopes only. */
export interface FastRequest {
  readonly cursor: bigint
  readonly acknowledged: number
  readonly envelopes: OutgoingEnvelope[]
}

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

/** The keys of one caller's last envelope: the next one usually goes the same way. */
export class EnvelopeKeys {
  readonly to = new RepeatedKey()
  readonly topic = new RepeatedKey()
  readonly toSession = new RepeatedKey()
}

/** @throws MeshError INVALID_ARGUMENT when `bytes` is no SendMessageRequest. */
export function readSendMessage(bytes: Uint8Array, keys: EnvelopeKeys): OutgoingEnvelope[] {
  return readOr(
    () => {
      const envelopes: OutgoingEnvelope[] = []
      const reader = new ProtoReader(bytes)
      while (reader.next()) {
        if (reader.field === 1 && reader.wireType === WIRE_LENGTH) envelopes.push(readEnvelope(reader.bytes(), keys))
        else reader.skip()
      }
      return envelopes
    },
    () => fromBinary(SendMessageRequestSchema, bytes).envelopes.map(outgoingEnvelope),
  )
}

/** @throws MeshError INVALID_ARGUMENT when `bytes` is no ExchangeRequest. */
export function readExchange(bytes: Uint8Array, keys: EnvelopeKeys): FastRequest {
  return readOr(
    () => {
      const envelopes: OutgoingEnvelope[] = []
      let cursor = 0
      let acknowledged = 0
      const reader = new ProtoReader(bytes)
      while (reader.next()) {
        const { field, wireType } = reader
        if (field === 1 && wireType === WIRE_VARINT) cursor = reader.varint()
        else if (field === 2 && wireType === WIRE_LENGTH) envelopes.push(readEnvelope(reader.bytes(), keys))
        else if (field === 3 && wireType === WIRE_VARINT) acknowledged = reader.varint()
        else reader.skip()
      }
      return { cursor: BigInt(cursor), acknowledged, envelopes }
    },
    () => {
      const { cursor, acknowledged, envelopes } = fromBinary(ExchangeRequestSchema, bytes)
      return { cursor, acknowledged: Number(acknowledged), envelopes: envelopes.map(outgoingEnvelope) }
    },
  )
}

/** @throws MeshError INVALID_ARGUMENT when `bytes` is no SubscribeRequest. */
export function readSubscribe(bytes: Uint8Array): bigint {
  const decode = (): bigint => fromBinary(SubscribeRequestSchema, bytes).cursor
  return readOr(decode, decode)
}

/**
 * Routing fields of a serialised Envelope; the payload is measured, not read. What is returned is a complete protobuf message,
 * so that fields can be appended to it. @throws UnusualMessage
 */
export function readEnvelope(bytes: Uint8Array, keys: EnvelopeKeys): OutgoingEnvelope {
  let id = EMPTY as Uint8Array
  let to = EMPTY as Uint8Array
  let topic = EMPTY as Uint8Array
  let toSession = EMPTY as Uint8Array
  let ttlMs = 0
  let payloadBytes = 0
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    const { field, wireType } = reader
    if (wireType === WIRE_LENGTH) {
      const value = reader.bytes()
      if (field === 1) id = value
      else if (field === 2) to = value
      else if (field === 3) topic = value
      else if (field === 4) toSession = value
      else if (field === 6) payloadBytes = value.byteLength
      else if (field === 5) throw new UnusualMessage()
    } else if (field === 5 && wireType === WIRE_VARINT) {
      ttlMs = reader.varint()
      if (ttlMs > MAX_UINT32) throw new UnusualMessage()
    } else if (field <= LAST_ENVELOPE_FIELD) {
      throw new UnusualMessage()
    } else {
      reader.skip()
    }
  }
  return {
    id,
    idKey: byteKey(id),
    to: keys.to.of(to),
    topicKey: keys.topic.of(topic),
    toSession: keys.toSession.of(toSession),
    ttlMs,
    payloadBytes,
    bytes,
  }
}

const MAX_UINT32 = 0xffff_ffff
const LAST_ENVELOPE_FIELD = 15

/** The quick way, and the real decoder for what it does not take. */
function readOr<T>(quick: () => T, thorough: () => T): T {
  try {
    return quick()
  } catch (error) {
    if (!(error instanceof UnusualMessage)) return malformed(error)
  }
  try {
    return thorough()
  } catch (error) {
    return malformed(error)
  }
}

function malformed(cause: unknown): never {
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the request is not a protobuf message of this call', { cause })
}

/** For public bytes of a few dozen: quicker than a call into native code, and not constant in time. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false
  return true
}
