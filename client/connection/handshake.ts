import { create, toBinary } from '@bufbuild/protobuf'
import {
  type AeadFactory,
  deriveLinkKeys,
  ErrorReason,
  equalBytes,
  type LinkKeys,
  MeshError,
  type Party,
  type SigningKey,
  sealSignal,
  type VerifiedRecord,
} from '@mesh/core'
import { PeerPayloadSchema, type Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { SignalSession } from '../signal/session.ts'

/**
 * How two peers that share a topic agree link keys, through a server neither has to trust (mesh.peer.v1, seal.proto):
 *
 *   lower key                              higher key
 *     Hello(own record)      ── sealed ──▶   verify record, admit
 *     verify, derive keys    ◀── sealed ──   HelloReply(own record), derive keys
 *     packets                ◀────────────▶  packets
 *
 * The keys come from the HPKE exporter secrets of both seals, so they bind both identities, both sessions, the topic and the
 * connection id: a packet that opens is the confirmation. The peer with the higher key never sends a Hello; it knocks.
 */

/** What this side brings to a handshake in one topic. */
export interface HandshakeSelf {
  readonly key: SigningKey
  readonly session: SignalSession
  readonly party: Party
  /** Own current record in the topic. */
  readonly record: SignedRecord
}

export interface SealedPayload {
  /** Serialised PeerPayload. */
  readonly payload: Uint8Array
  /** HPKE exporter secret of this seal. */
  readonly exported: Uint8Array
}

/** Seals one signal to the session in the remote's record. */
export async function sealTo(
  self: HandshakeSelf,
  remote: VerifiedRecord,
  seq: bigint,
  connectionId: Uint8Array,
  body: Signal['body'],
): Promise<SealedPayload> {
  const { peerKey, sessionId, sessionKey } = remote.record
  const { sealed, exported } = await sealSignal({
    signal: {
      from: self.key.publicKey,
      to: peerKey,
      topic: self.party.topic,
      fromSession: self.session.id,
      toSession: sessionId,
      connectionId,
      seq,
      body,
    },
    key: self.key,
    recipientSessionKey: sessionKey,
    ...(self.party.psk && { psk: self.party.psk }),
  })
  const payload = toBinary(PeerPayloadSchema, create(PeerPayloadSchema, { payload: { case: 'signal', value: sealed } }))
  return { payload, exported }
}

/** The record a signal carries must be the sender's, in the signal's topic, for the session the signal came from. */
export function requireOwnRecord(signal: Signal, record: VerifiedRecord): void {
  const { peerKey, topic, sessionId } = record.record
  if (!equalBytes(peerKey, signal.from)) {
    throw new MeshError(ErrorReason.SEAL_SENDER, "the signal carries somebody else's record")
  }
  if (!equalBytes(topic, signal.topic))
    throw new MeshError(ErrorReason.SEAL_TOPIC, 'the record in the signal is of another topic')
  if (!equalBytes(sessionId, signal.fromSession)) {
    throw new MeshError(ErrorReason.SEAL_SESSION, 'the record in the signal is of another session')
  }
}

export interface Exports {
  readonly hello: Uint8Array
  readonly helloReply: Uint8Array
}

/** The link keys, once both exporter secrets are known. */
export function linkKeys(
  self: HandshakeSelf,
  remote: VerifiedRecord,
  role: 'lower' | 'higher',
  connectionId: Uint8Array,
  exports: Exports,
  aead: AeadFactory | undefined,
): Promise<LinkKeys> {
  const own = { key: self.key.publicKey, sessionId: self.session.id }
  const other = { key: remote.record.peerKey, sessionId: remote.record.sessionId }
  const [lower, higher] = role === 'lower' ? [own, other] : [other, own]
  return deriveLinkKeys({
    exportHello: exports.hello,
    exportHelloReply: exports.helloReply,
    connectionId,
    topic: self.party.topic,
    lowerKey: lower.key,
    higherKey: higher.key,
    lowerSessionId: lower.sessionId,
    higherSessionId: higher.sessionId,
    ...(self.party.psk && { psk: self.party.psk }),
    role,
    aead,
  })
}
