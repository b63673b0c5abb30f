import { blake2b } from '@noble/hashes/blake2.js'
import { concatBytes, isAllZero, utf8Encode } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { SigningKey } from '../identity/ed25519.ts'
import { checkPublicKey, signingKeyFromSeed } from '../identity/ed25519.ts'

/** Those who meet under one topic, and what they share beyond knowing it. */
export interface Party {
  /** Discovery key, 32 bytes: all that servers and strangers learn. */
  readonly topic: Uint8Array
  /** Mixed into every seal; undefined for an open topic. 32 bytes. */
  readonly psk: Uint8Array | undefined
  /** Undefined for an open topic, whose key nobody here knows. 32 bytes. */
  readonly publicKey: Uint8Array | undefined
}

/** Work per guess of a party's name: 100,000 rounds of PBKDF2-SHA256, tens of milliseconds. */
const NAME_ITERATIONS = 100_000
const MAX_NAME_BYTES = 256

/**
 * The topic of a party: BLAKE2b-256 of "hypercore", keyed by the public key. The same as hypercore-crypto's
 * `discoveryKey`, so a hypercore topic is a MESH topic.
 */
export function discoveryKey(publicKey: Uint8Array): Uint8Array {
  return keyedHash(publicKey, utf8Encode('hypercore'))
}

/** The topic under which a peer itself can be looked up. */
export function identityTopic(peerKey: Uint8Array): Uint8Array {
  return keyedHash(peerKey, utf8Encode('mesh/1 identity'))
}

/** The secret of those who know the party's public key: BLAKE2b-256 of "mesh/1 party-psk" || 00 || topic, keyed by it. */
export function partyPsk(partyPublicKey: Uint8Array, topic: Uint8Array): Uint8Array {
  return keyedHash(partyPublicKey, concatBytes(utf8Encode('mesh/1 party-psk'), Uint8Array.of(0), topic))
}

/**
 * The party behind a name. A shared-secret party: the name *is* the secret. Whoever knows or guesses it is a member
 * and holds the party's key, so a short name is an open door; take a public key where that matters.
 *
 *     seed = PBKDF2-SHA256(password = UTF-8 of the name in NFC, salt = "mesh/1 party-name", 100,000 rounds), 32 bytes
 *
 * @throws MeshError ADDRESS_INVALID for an empty name or one of more than 256 bytes
 */
export async function partyFromName(name: string): Promise<Party & { readonly key: SigningKey }> {
  const password = utf8Encode(name.normalize('NFC'))
  if (password.length === 0 || password.length > MAX_NAME_BYTES) {
    throw new MeshError(ErrorReason.ADDRESS_INVALID, `A party's name has 1 to ${MAX_NAME_BYTES} bytes of UTF-8`, {
      value: password.length,
    })
  }
  const material = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits'])
  const parameters = {
    name: 'PBKDF2',
    hash: 'SHA-256',
    salt: utf8Encode('mesh/1 party-name'),
    iterations: NAME_ITERATIONS,
  }
  const key = await signingKeyFromSeed(new Uint8Array(await crypto.subtle.deriveBits(parameters, material, 256)))
  return { ...partyFromPublicKey(key.publicKey), key }
}

/**
 * The party of a public key, which serves as capability: servers see only its hash, and only those who hold the key
 * itself can open a link.
 * @throws MeshError KEY_INVALID
 */
export function partyFromPublicKey(publicKey: Uint8Array): Party {
  checkPublicKey(publicKey)
  const topic = discoveryKey(publicKey)
  return { topic, psk: partyPsk(publicKey, topic), publicKey }
}

/**
 * An open party: everybody who knows the topic may take part.
 * @throws MeshError ADDRESS_INVALID when the topic is not 32 bytes or is all zero
 */
export function openParty(topic: Uint8Array): Party {
  if (topic.length !== 32 || isAllZero(topic)) {
    throw new MeshError(ErrorReason.ADDRESS_INVALID, 'A topic has 32 bytes that are not all zero', {
      value: topic.length,
    })
  }
  return { topic, psk: undefined, publicKey: undefined }
}

function keyedHash(key: Uint8Array, message: Uint8Array): Uint8Array {
  if (key.length !== 32) throw new MeshError(ErrorReason.KEY_INVALID, `A public key has 32 bytes, not ${key.length}`)
  return blake2b(message, { key, dkLen: 32 })
}
