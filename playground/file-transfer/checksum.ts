/** Bytes as lower-case hexadecimal digits, the usual form of a checksum. */
export function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Compares two checksums. Not secret, so not in constant time. */
export function sameChecksum(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
