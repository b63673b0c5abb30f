import { concatBytes, forWebCrypto, fromBase64Url } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import { ed25519PointFault, isCanonicalScalar } from './curve25519.ts'

/** An Ed25519 key that can sign. The private half may live anywhere: WebCrypto, a key store, a hardware token. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** The 64 byte signature of `bytes`. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

/** DER of a PKCS #8 Ed25519 private key (RFC 8410 §7) up to the 32 byte seed. */
const PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
])

/** A new key that lives in this process only; the private half cannot be extracted. */
export async function generateSigningKey(): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateCryptoKeys({ extractable: false })
  return signingKeyFromCryptoKeys(privateKey, publicKey)
}

/** A new key pair as WebCrypto holds it, for stores that keep CryptoKeys (IndexedDB). `publicKey` is 32 raw bytes. */
export async function generateCryptoKeys(options: {
  /** Whether the private key's bytes can ever be read again. */
  extractable: boolean
}): Promise<{ privateKey: CryptoKey; publicKey: Uint8Array }> {
  const pair = (await crypto.subtle.generateKey('Ed25519', options.extractable, ['sign', 'verify'])) as CryptoKeyPair
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
  return { privateKey: pair.privateKey, publicKey }
}

/**
 * The key of a 32 byte seed (RFC 8032 §5.1.5). The seed is all there is to keep.
 * @throws MeshError KEY_INVALID for another length
 */
export async function signingKeyFromSeed(seed: Uint8Array): Promise<SigningKey> {
  if (seed.length !== 32) {
    throw new MeshError(ErrorReason.KEY_INVALID, `An Ed25519 seed has 32 bytes, not ${seed.length}`)
  }
  const pkcs8 = concatBytes(PKCS8_PREFIX, seed)
  // WebCrypto gives the public half only through an export, so the key is read twice: once to export, once to keep.
  const exportable = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign'])
  const jwk = await crypto.subtle.exportKey('jwk', exportable)
  const privateKey = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
  return signingKeyFromCryptoKeys(privateKey, fromBase64Url(jwk.x ?? ''))
}

/** A key over a WebCrypto private key and its 32 byte public key. */
export function signingKeyFromCryptoKeys(privateKey: CryptoKey, publicKey: Uint8Array): SigningKey {
  return {
    publicKey,
    sign: async (bytes) => new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, forWebCrypto(bytes))),
  }
}

/**
 * Whether the bytes can be an Ed25519 public key at all.
 * @throws MeshError KEY_INVALID: not 32 bytes, not canonical, or of small order
 */
export function checkPublicKey(publicKey: Uint8Array): void {
  const fault = ed25519PointFault(publicKey)
  if (fault === undefined) return
  const detail = fault === 'length' ? `32 bytes expected, ${publicKey.length} given` : fault
  throw new MeshError(ErrorReason.KEY_INVALID, `The Ed25519 public key is not usable: ${detail}`)
}

/**
 * A runtime's own verification of an Ed25519 signature, cofactorless. May throw or reject for a key it cannot read. WebCrypto
 * is the default; a server, which verifies for everybody, passes one that needs no round trip through a thread pool.
 */
export type Ed25519Verify = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>

/** `Ed25519Verify` of a runtime that verifies in place: for state machines, which cannot wait. */
export type Ed25519VerifySync = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

const webCryptoVerify: Ed25519Verify = async (publicKey, message, signature) => {
  const key = await crypto.subtle.importKey('raw', forWebCrypto(publicKey), 'Ed25519', false, ['verify'])
  return crypto.subtle.verify('Ed25519', key, forWebCrypto(signature), forWebCrypto(message))
}

/**
 * Strict verification: canonical S (S < L), canonical A and R that are not of small order, then the runtime's
 * cofactorless equation. False for anything else, whatever is wrong; never throws for bad input.
 */
export async function verifyStrict(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  native: Ed25519Verify = webCryptoVerify,
): Promise<boolean> {
  if (!isStrictlyEncoded(publicKey, signature)) return false
  try {
    return await native(publicKey, message, signature)
  } catch {
    // Some runtimes decompress the point on import: y with no x on the curve is a bad key, and a false here.
    return false
  }
}

/** `verifyStrict` where the runtime verifies in place. */
export function verifyStrictSync(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  native: Ed25519VerifySync,
): boolean {
  if (!isStrictlyEncoded(publicKey, signature)) return false
  try {
    return native(publicKey, message, signature)
  } catch {
    return false // see verifyStrict
  }
}

/** What is ruled out before native code sees a signature. */
function isStrictlyEncoded(publicKey: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64) return false
  if (ed25519PointFault(publicKey) !== undefined) return false
  if (ed25519PointFault(signature.subarray(0, 32)) !== undefined) return false
  return isCanonicalScalar(signature.subarray(32))
}
