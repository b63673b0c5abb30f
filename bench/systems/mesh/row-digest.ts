import { createHash } from 'node:crypto'

const MODULUS = 1n << 256n

/** OriginState.digest, written from docs/protocol.md: the sum of SHA-256(signature || record) over all rows, modulo 2^256. */
export class RowDigest {
  #sum = 0n

  add({ signature, record }: { readonly signature: Uint8Array; readonly record: Uint8Array }): void {
    const hash = createHash('sha256').update(signature).update(record).digest('hex')
    this.#sum = (this.#sum + BigInt(`0x${hash}`)) % MODULUS
  }

  /** 32 bytes, big-endian. */
  get value(): Uint8Array {
    return Buffer.from(this.#sum.toString(16).padStart(64, '0'), 'hex')
  }
}
