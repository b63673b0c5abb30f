/** Bytes as a map key: one character per byte, so 32 bytes cost one small string and no hex. */
export type ByteKey = string

/** The map key of `bytes`. Equal bytes give equal keys; the way back is `bytesOfKey`. */
export function byteKey(bytes: Uint8Array): ByteKey {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** The bytes `key` was made of. */
export function bytesOfKey(key: ByteKey): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'latin1'))
}
