import { concatBytes, utf8Encode } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { SigningKey } from './ed25519.ts'
import {
  checkPublicKey,
  type Ed25519Verify,
  type Ed25519VerifySync,
  verifyStrict,
  verifyStrictSync,
} from './ed25519.ts'

/**
 * What a signature is about. The name is inside what is signed, so a signature made for one purpose is worthless for
 * every other.
 */
export type StatementName =
  | 'session-client'
  | 'session-server'
  | 'session-node'
  | 'origin-state'
  | 'membership'
  | 'signal'
  | 'credential'
  | 'alias'

/** The bytes that are signed: u8(length of label) || label || statement, label = "mesh/1 " + name. */
export function statementBytes(name: StatementName, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const label = utf8Encode(`mesh/1 ${name}`)
  return concatBytes(Uint8Array.of(label.length), label, bytes)
}

/** Signs a serialised statement; 64 bytes. Send exactly these `bytes` on: nobody re-encodes. */
export function signStatement(key: SigningKey, name: StatementName, bytes: Uint8Array): Promise<Uint8Array> {
  return key.sign(statementBytes(name, bytes))
}

/**
 * Verifies a statement over its bytes as received.
 * @throws MeshError KEY_INVALID when the key cannot be one, SIGNATURE_INVALID when the signature is not by it
 */
export async function verifyStatement(
  publicKey: Uint8Array,
  name: StatementName,
  bytes: Uint8Array,
  signature: Uint8Array,
  native?: Ed25519Verify,
): Promise<void> {
  checkEncoding(publicKey, signature)
  if (!(await verifyStrict(publicKey, statementBytes(name, bytes), signature, native))) throw notSigned(name)
}

/** `verifyStatement` where the runtime verifies in place. */
export function verifyStatementSync(
  publicKey: Uint8Array,
  name: StatementName,
  bytes: Uint8Array,
  signature: Uint8Array,
  native: Ed25519VerifySync,
): void {
  checkEncoding(publicKey, signature)
  if (!verifyStrictSync(publicKey, statementBytes(name, bytes), signature, native)) throw notSigned(name)
}

function checkEncoding(publicKey: Uint8Array, signature: Uint8Array): void {
  checkPublicKey(publicKey)
  if (signature.length !== 64) {
    throw new MeshError(ErrorReason.SIGNATURE_INVALID, `A signature has 64 bytes, not ${signature.length}`)
  }
}

function notSigned(name: StatementName): MeshError {
  return new MeshError(ErrorReason.SIGNATURE_INVALID, `The "${name}" statement is not signed by its key`)
}
