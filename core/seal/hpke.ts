import type { KeyPair } from 'hpke'
import { AEAD_AES_128_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import { ErrorReason, MeshError } from '../error.ts'
import { x25519KeyFault } from '../identity/curve25519.ts'

/**
 * The one HPKE (RFC 9180) construction of MESH: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-128-GCM
 * 0x0001, Base mode, or PSK mode when a psk is given; one message per context, and one exported secret (§5.3).
 */
export type HpkeSuite = CipherSuite<CryptoKey>
export type HpkeKeyPair = KeyPair<CryptoKey>

export const HPKE_KEM = 0x0020
export const HPKE_KDF = 0x0001
export const HPKE_AEAD = 0x0001

export const HPKE_SUITE: HpkeSuite = /* @__PURE__ */ new CipherSuite(
  KEM_DHKEM_X25519_HKDF_SHA256,
  KDF_HKDF_SHA256,
  AEAD_AES_128_GCM,
)

/** What both sides must agree on beforehand. */
export interface HpkeAgreement {
  readonly info: Uint8Array
  /** PSK mode when given. The secret has at least 32 bytes (RFC 9180 §9.5). */
  readonly psk?: { readonly secret: Uint8Array; readonly id: Uint8Array } | undefined
  /** Default: empty. */
  readonly aad?: Uint8Array
  readonly exporterContext: Uint8Array
}

const EXPORTED_BYTES = 32

/**
 * Encrypts to a public key.
 * @throws MeshError SEAL_KEY when `recipientKey` is not a usable X25519 key
 */
export async function hpkeSeal(
  options: HpkeAgreement & {
    recipientKey: Uint8Array
    plaintext: Uint8Array
    /** Default: HPKE_SUITE. Test vectors give one with a fixed ephemeral key. */
    suite?: HpkeSuite
  },
): Promise<{ enc: Uint8Array; ciphertext: Uint8Array; exported: Uint8Array }> {
  const { suite = HPKE_SUITE, aad, plaintext, exporterContext } = options
  refuseUnusable(options.recipientKey, "The recipient's session key")
  const publicKey = await suite.DeserializePublicKey(options.recipientKey)
  const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, contextOf(options))
  const ciphertext = await ctx.Seal(plaintext, aad)
  return { enc: encapsulatedSecret, ciphertext, exported: await ctx.Export(exporterContext, EXPORTED_BYTES) }
}

/**
 * Decrypts what was sealed to `pair`.
 * @throws MeshError SEAL_KEY when `enc` is not a usable X25519 key, SEAL_OPEN when it does not open: altered, or sealed
 * to another key, mode, psk or info; which one cannot be told
 */
export async function hpkeOpen(
  options: HpkeAgreement & {
    /** Both halves: the private one cannot be extracted, and the public one is part of the key schedule. */
    pair: HpkeKeyPair
    enc: Uint8Array
    ciphertext: Uint8Array
  },
): Promise<{ plaintext: Uint8Array; exported: Uint8Array }> {
  refuseUnusable(options.enc, 'The encapsulated key')
  try {
    const ctx = await HPKE_SUITE.SetupRecipient(options.pair, options.enc, contextOf(options))
    const plaintext = await ctx.Open(options.ciphertext, options.aad)
    return { plaintext, exported: await ctx.Export(options.exporterContext, EXPORTED_BYTES) }
  } catch (cause) {
    throw new MeshError(ErrorReason.SEAL_OPEN, 'The seal does not open', { cause })
  }
}

function contextOf(agreement: HpkeAgreement): { info: Uint8Array; psk?: Uint8Array; pskId?: Uint8Array } {
  const { info, psk } = agreement
  return psk === undefined ? { info } : { info, psk: psk.secret, pskId: psk.id }
}

function refuseUnusable(key: Uint8Array, what: string): void {
  const fault = x25519KeyFault(key)
  if (fault !== undefined) throw new MeshError(ErrorReason.SEAL_KEY, `${what} is not usable: ${fault}`)
}
