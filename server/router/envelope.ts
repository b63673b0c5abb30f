import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import { type Envelope, EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { EnvelopeFields, RoutedEnvelope } from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { encodeEnvelope } from '../session/event-codec.ts'

/** An envelope as its sender gave it to this server. */
export type OutgoingEnvelope = EnvelopeFields

/**
 * An envelope of a peer of this server, with its sender's stamp. A class, not a literal: see `Trial` in the routing of the
 * federation, where it lives.
 */
export class StampedEnvelope implements RoutedEnvelope {
  readonly id: Uint8Array
  readonly from: ByteKey
  readonly to: ByteKey
  readonly topicKey: ByteKey
  readonly toSession: ByteKey
  readonly ttlMs: number
  readonly payloadBytes: number
  readonly bytes: Uint8Array

  constructor(from: ByteKey, envelope: OutgoingEnvelope, bytes: Uint8Array) {
    this.id = envelope.id
    this.from = from
    this.to = envelope.to
    this.topicKey = envelope.topicKey
    this.toSession = envelope.toSession
    this.ttlMs = envelope.ttlMs
    this.payloadBytes = envelope.payloadBytes
    this.bytes = bytes
  }
}

const KEY_BYTES = 32
const ID_BYTES = 16

/** An envelope that Connect decoded. */
export function outgoingEnvelope(envelope: Envelope): OutgoingEnvelope {
  return fieldsOf(envelope, encodeEnvelope(envelope))
}

/** An envelope that a server has stamped, in its decoded form. */
export function routedEnvelope(envelope: Envelope, bytes = encodeEnvelope(envelope)): RoutedEnvelope {
  return { ...fieldsOf(envelope, bytes), from: byteKey(envelope.from) }
}

function fieldsOf(envelope: Envelope, bytes: Uint8Array): EnvelopeFields {
  return {
    id: envelope.id,
    to: byteKey(envelope.to),
    topicKey: byteKey(envelope.topic),
    toSession: byteKey(envelope.toSession),
    ttlMs: envelope.ttlMs,
    payloadBytes: envelope.payload.byteLength,
    bytes,
  }
}

/** An envelope that was stamped and kept by this server. Its bytes are copied: the memory they are in belongs to others too. */
export function storedEnvelope(bytes: Uint8Array): RoutedEnvelope {
  const own = bytes.slice()
  return routedEnvelope(fromBinary(EnvelopeSchema, own), own)
}

/** Why the fields of an envelope are not what the schema says; undefined when they are. */
export function envelopeShapeError(envelope: EnvelopeFields): MeshError | undefined {
  if (envelope.id.byteLength !== ID_BYTES) return wrongLength('id', ID_BYTES, envelope.id.byteLength)
  if (envelope.to.length !== KEY_BYTES) return wrongLength('to', KEY_BYTES, envelope.to.length)
  if (envelope.topicKey.length !== KEY_BYTES) return wrongLength('topic', KEY_BYTES, envelope.topicKey.length)
  if (envelope.toSession.length !== 0 && envelope.toSession.length !== ID_BYTES) {
    return wrongLength('to_session', ID_BYTES, envelope.toSession.length)
  }
  if (envelope.payloadBytes === 0) return new MeshError(ErrorReason.INVALID_ARGUMENT, 'the envelope has no payload')
  return undefined
}

function wrongLength(field: string, expected: number, found: number): MeshError {
  const message = `envelope field ${field} must have ${expected} bytes, has ${found}`
  return new MeshError(ErrorReason.INVALID_ARGUMENT, message, { value: found })
}
