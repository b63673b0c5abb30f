import { AEAD_AES_128_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import type { HpkeKeyPair, HpkeSuite } from '../seal/hpke.ts'

/**
 * The suite of MESH with an ephemeral key that is not random: what test vectors need, and nobody else may use, since a
 * repeated ephemeral key breaks HPKE.
 */
export async function suiteWithEphemeral(ikm: Uint8Array): Promise<HpkeSuite> {
  const ephemeral: HpkeKeyPair = await KEM_DHKEM_X25519_HKDF_SHA256().DeriveKeyPair(ikm, true)
  const kem = () => ({ ...KEM_DHKEM_X25519_HKDF_SHA256(), GenerateKeyPair: async () => ephemeral })
  return new CipherSuite(kem, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
}
