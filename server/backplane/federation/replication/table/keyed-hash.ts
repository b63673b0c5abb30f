import type { Random } from '@mesh/core'

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein's SipHash on 32 bit words) of fixed-size keys. Topics and peer keys are chosen
 * by strangers: without a secret they could be chosen to fall into one place of a hash table, and make it slow.
 */
export class KeyedHash {
  readonly #k0: number
  readonly #k1: number

  constructor(random: Random) {
    const words = new Int32Array(random.bytes(8).buffer)
    this.#k0 = words[0] as number
    this.#k1 = words[1] as number
  }

  /** A 32 bit hash of the 32 bytes of `key`, and of a number beside it. */
  of(key: Uint8Array, beside: number): number {
    let v0 = this.#k0
    let v1 = this.#k1
    let v2 = 0x6c796765 ^ this.#k0
    let v3 = 0x74656462 ^ this.#k1
    // Eight words of the key, the number, the length as SipHash has it, and three rounds of finalisation.
    for (let word = 0; word < 13; word++) {
      const input = word < 8 ? littleEndian(key, word * 4) : word === 8 ? beside : word === 9 ? 36 << 24 : 0
      if (word === 10) v2 ^= 0xff
      v3 ^= input
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= input
    }
    return (v1 ^ v3) >>> 0
  }
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}
