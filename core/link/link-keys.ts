import { compareBytes, concatBytes, forWebCrypto, utf8Encode } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { AeadFactory } from './aead.ts'
import type { PacketOpener, PacketSealer } from './packet.ts'
import { createPacketOpener, createPacketSealer } from './packet.ts'

/** Keys of one link, as one of its ends holds them. */
export interface LinkKeys {
  readonly send: PacketSealer
  readonly receive: PacketOpener
  /** 32 bytes, the same at both ends and at no other link: what admission evidence is bound to. */
  readonly transcriptHash: Uint8Array
}

/** What both ends of a link know; every value is bound into the keys. See mesh/peer/v1/seal.proto, Packet. */
export interface LinkAgreement {
  /** Exporter secrets of the seals that carried Hello and HelloReply, 32 bytes each. */
  exportHello: Uint8Array
  exportHelloReply: Uint8Array
  /** 16 bytes. */
  connectionId: Uint8Array
  /** The topic of Hello, 32 bytes. */
  topic: Uint8Array
  /** Both peer keys, 32 bytes, and session ids, 16 bytes; lower and higher by bytewise order of the keys. */
  lowerKey: Uint8Array
  higherKey: Uint8Array
  lowerSessionId: Uint8Array
  higherSessionId: Uint8Array
  /** The party's psk, 32 bytes; undefined for an open topic. */
  psk?: Uint8Array | undefined
}

const KEY_BYTES = 16
const TRANSCRIPT_OFFSET = 2 * KEY_BYTES
const DERIVED_BYTES = TRANSCRIPT_OFFSET + 32

/**
 * Derives a link's keys: one per direction, and the transcript hash.
 * @throws MeshError INVALID_ARGUMENT for a wrong length or keys out of order
 */
export async function deriveLinkKeys(
  options: LinkAgreement & { role: 'lower' | 'higher'; aead?: AeadFactory | undefined },
): Promise<LinkKeys> {
  const { aead } = options
  const derived = await deriveLinkSecrets(options)
  const lowerToHigher = derived.subarray(0, KEY_BYTES)
  const higherToLower = derived.subarray(KEY_BYTES, TRANSCRIPT_OFFSET)
  const isLower = options.role === 'lower'
  const keys = {
    send: await createPacketSealer(isLower ? lowerToHigher : higherToLower, aead),
    receive: await createPacketOpener(isLower ? higherToLower : lowerToHigher, aead),
    transcriptHash: derived.slice(TRANSCRIPT_OFFSET),
  }
  derived.fill(0, 0, TRANSCRIPT_OFFSET)
  return keys
}

/** The 64 bytes under the keys: lower to higher, higher to lower, transcript hash. Public for test vectors only. */
export async function deriveLinkSecrets(agreement: LinkAgreement): Promise<Uint8Array<ArrayBuffer>> {
  checkLengths(agreement)
  const pskHash = await crypto.subtle.digest('SHA-256', forWebCrypto(agreement.psk ?? new Uint8Array()))
  const info = concatBytes(
    utf8Encode('mesh/1 link'),
    agreement.topic,
    agreement.lowerKey,
    agreement.higherKey,
    agreement.lowerSessionId,
    agreement.higherSessionId,
    new Uint8Array(pskHash),
  )
  const secret = concatBytes(agreement.exportHello, agreement.exportHelloReply)
  const material = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits'])
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: forWebCrypto(agreement.connectionId), info }
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, material, DERIVED_BYTES * 8))
}

/**
 * Proof that a peer knows the party's psk, made for one link: HMAC-SHA256(psk, "mesh/1 attach" || peer key ||
 * transcript hash). Goes into Attach.evidence, with `peerKey` the sender's.
 */
export async function attachEvidence(
  psk: Uint8Array,
  peerKey: Uint8Array,
  transcriptHash: Uint8Array,
): Promise<Uint8Array> {
  const statement = attachStatement(peerKey, transcriptHash)
  return new Uint8Array(await crypto.subtle.sign('HMAC', await hmacKey(psk), statement))
}

/** Whether the evidence is that of `peerKey` on this link. Compares in constant time. */
export async function verifyAttachEvidence(
  psk: Uint8Array,
  peerKey: Uint8Array,
  transcriptHash: Uint8Array,
  evidence: Uint8Array,
): Promise<boolean> {
  const statement = attachStatement(peerKey, transcriptHash)
  return crypto.subtle.verify('HMAC', await hmacKey(psk), forWebCrypto(evidence), statement)
}

function hmacKey(psk: Uint8Array): Promise<CryptoKey> {
  requireLength('psk', psk, 32)
  return crypto.subtle.importKey('raw', forWebCrypto(psk), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify'])
}

function attachStatement(peerKey: Uint8Array, transcriptHash: Uint8Array): Uint8Array<ArrayBuffer> {
  requireLength('peerKey', peerKey, 32)
  requireLength('transcriptHash', transcriptHash, 32)
  return concatBytes(utf8Encode('mesh/1 attach'), peerKey, transcriptHash)
}

/** Fixed lengths keep the concatenated info unambiguous. */
function checkLengths(agreement: LinkAgreement): void {
  requireLength('exportHello', agreement.exportHello, 32)
  requireLength('exportHelloReply', agreement.exportHelloReply, 32)
  requireLength('connectionId', agreement.connectionId, 16)
  requireLength('topic', agreement.topic, 32)
  requireLength('lowerKey', agreement.lowerKey, 32)
  requireLength('higherKey', agreement.higherKey, 32)
  requireLength('lowerSessionId', agreement.lowerSessionId, 16)
  requireLength('higherSessionId', agreement.higherSessionId, 16)
  if (agreement.psk !== undefined) requireLength('psk', agreement.psk, 32)
  if (compareBytes(agreement.lowerKey, agreement.higherKey) !== -1) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'lowerKey is not below higherKey')
  }
}

function requireLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return
  const message = `${name} has ${bytes.length} bytes, not ${length}`
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, message, { value: bytes.length })
}
