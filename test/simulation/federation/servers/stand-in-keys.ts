import type { Ed25519VerifySync, SigningKey } from '@mesh/core'

// Signatures that cost a microsecond. They have the shape of Ed25519 signatures and only the bytes that were signed verify,
// which is all that replication relies on; that nobody can forge them is tested where real keys are used.

/** A key whose signatures `standInVerify` accepts. */
export function standInKey(publicKey: Uint8Array): SigningKey {
  return { publicKey, sign: async (bytes) => standInSignature(publicKey, bytes) }
}

/** 32 bytes that pass for a public key: a canonical point encoding, different for each seed below 2^16. */
export function standInPublicKey(seed: number, kind: number): Uint8Array {
  const key = new Uint8Array(32).fill(kind)
  key[0] = seed & 0xff
  key[1] = seed >> 8
  key[31] = 0x20
  return key
}

export function standInSignature(publicKey: Uint8Array, bytes: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64).fill(7)
  const hash = hashOf(publicKey, bytes)
  new DataView(signature.buffer).setFloat64(0, hash)
  new DataView(signature.buffer).setFloat64(32, hash)
  // R below the prime, S below the order of the group.
  signature[31] = 0x10
  signature[63] = 0
  return signature
}

export const standInVerify: Ed25519VerifySync = (publicKey, message, signature) =>
  new DataView(signature.buffer, signature.byteOffset).getFloat64(0) === hashOf(publicKey, message)

/** 53 bits of two multiplicative hashes. */
function hashOf(publicKey: Uint8Array, bytes: Uint8Array): number {
  let high = 0x9e3779b9
  let low = 0x85ebca6b
  for (const part of [publicKey, bytes]) {
    for (let i = 0; i < part.length; i++) {
      const byte = part[i] as number
      high = Math.imul(high ^ byte, 0x9e3779b1)
      low = Math.imul(low ^ byte, 0x5f356495)
    }
  }
  high ^= low >>> 15
  return (high >>> 0) * 2 ** 21 + ((low >>> 0) & 0x1fffff)
}
