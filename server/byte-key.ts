/** Bytes as a map key: one character per byte, so 32 bytes cost one small string and no hex. */
export type ByteKey = string

/** The map key of `bytes`. Equal bytes give equal keys; the way back is `bytesOfKey`. */
export function byteKey(bytes: Uint8Array): ByteKey {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** The bytes `key` was made of, in an array of their own, or in `target`, which has that length. */
export function bytesOfKey(key: ByteKey, target = new Uint8Array(key.length)): Uint8Array {
  for (let i = 0; i < key.length; i++) target[i] = key.charCodeAt(i)
  return target
}
