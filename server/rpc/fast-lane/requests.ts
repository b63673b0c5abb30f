import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import {
  ExchangeRequestSchema,
  SendMessageRequestSchema,
  SubscribeRequestSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type OutgoingEnvelope, outgoingEnvelope } from '../../router/envelope.ts'
import { type EnvelopeKeys, readEnvelope } from '../../router/envelope-reader.ts'
import { ProtoReader, UnusualMessage, WIRE_LENGTH, WIRE_VARINT } from '../../wire/proto-reader.ts'

/** An ExchangeRequest; a SendMessageRequest is one with envelopes only. */
export interface FastRequest {
  readonly cursor: bigint
  readonly acknowledged: number
  readonly envelopes: OutgoingEnvelope[]
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
