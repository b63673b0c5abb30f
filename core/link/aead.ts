import { forWebCrypto } from '../bytes.ts'

/** AES-128-GCM under one key (RFC 5116, AEAD_AES_128_GCM), without additional data. */
export interface Aead {
  /**
   * Ciphertext with its 16 byte tag. The nonce, 12 bytes, must never come twice. Who answers with bytes and not with a
   * promise is done with the plaintext.
   */
  seal(nonce: Uint8Array<ArrayBuffer>, plaintext: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** The plaintext; throws or rejects when the tag does not fit. */
  open(nonce: Uint8Array<ArrayBuffer>, sealed: Uint8Array): Uint8Array | Promise<Uint8Array>
}

/**
 * Makes an Aead from a 16 byte key, which is not kept. WebCrypto, the default, is everywhere, but costs a round trip
 * through a thread pool for every packet; a platform that can do it in place says so.
 */
export type AeadFactory = (key: Uint8Array) => Promise<Aead>

export const webCryptoAead: AeadFactory = async (rawKey) => {
  const key = await crypto.subtle.importKey('raw', forWebCrypto(rawKey), 'AES-GCM', false, ['encrypt', 'decrypt'])
  return {
    seal: async (iv, plaintext) =>
      new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, forWebCrypto(plaintext))),
    open: async (iv, sealed) =>
      new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, forWebCrypto(sealed))),
  }
}
