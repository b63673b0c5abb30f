import { createPublicKey, verify } from 'node:crypto'
import type { Ed25519VerifySync } from '@mesh/core'

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410 §4): the 32 byte key follows. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/**
 * Ed25519 by node:crypto, in place. A server verifies one signature for every session and every join; handing each to
 * WebCrypto's thread pool costs the main thread more than the verification itself.
 */
export const nodeVerify: Ed25519VerifySync = (publicKey, message, signature) => {
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' })
  return verify(null, message, key, signature)
}
