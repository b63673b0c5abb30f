import { hash } from 'node:crypto'

/** Sixteen limbs of 16 bits: a limb times 2^31 rows still is a safe integer, so carries can wait. */
const LIMBS = 16

/**
 * What a row adds to the digest of its table: SHA-256(signature || record), the 64 bytes of the signature and then the
 * bytes of the record, both as received. The record says topic, peer, home and session, so that nothing else is needed.
 * One character per byte, because that is what node:crypto gives fastest.
 */
export function rowHash(signatureAndRecord: Uint8Array): string {
  return hash('sha256', signatureAndRecord, 'binary')
}

/**
 * The digest of a table: the sum of its rows' hashes, each read as a big-endian number, modulo 2^256. It follows every
 * change in constant time and does not depend on the order of the rows. It shows faults, and what a server that passes
 * rows on left out or made up; it is no proof against the origin itself, which could sign any table.
 */
export class RowDigest {
  /** Little-endian limbs, not yet carried. */
  readonly #limbs = new Float64Array(LIMBS)
  /** As they were asked for last; undefined since the last change. */
  #bytes: Uint8Array | undefined

  add(hash: string): void {
    this.#change(hash, 1)
  }

  remove(hash: string): void {
    this.#change(hash, -1)
  }

  copy(): RowDigest {
    const copy = new RowDigest()
    copy.#limbs.set(this.#limbs)
    return copy
  }

  /** 32 bytes, big-endian; the same array until a row changes, so not to be written to. */
  bytes(): Uint8Array {
    this.#bytes ??= this.#carried()
    return this.#bytes
  }

  #carried(): Uint8Array {
    const bytes = new Uint8Array(32)
    let carry = 0
    for (let limb = 0; limb < LIMBS; limb++) {
      const sum = (this.#limbs[limb] as number) + carry
      carry = Math.floor(sum / 0x10000)
      const digit = sum - carry * 0x10000
      this.#limbs[limb] = digit
      bytes[31 - 2 * limb] = digit & 0xff
      bytes[30 - 2 * limb] = digit >>> 8
    }
    return bytes
  }

  #change(hash: string, sign: 1 | -1): void {
    this.#bytes = undefined
    for (let limb = 0; limb < LIMBS; limb++) {
      const digit = (hash.charCodeAt(30 - 2 * limb) << 8) | hash.charCodeAt(31 - 2 * limb)
      this.#limbs[limb] = (this.#limbs[limb] as number) + sign * digit
    }
  }
}
