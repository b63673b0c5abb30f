/**
 * The bytes as they may be kept for long. A decoded field is a view into its whole packet: one byte of it would keep
 * 16 KB alive, and a peer could use that to multiply every bound by thousands. Views that fill less than half of their
 * buffer are copied; larger ones at most double what they are counted as.
 */
export function retained(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes
}
