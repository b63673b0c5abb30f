/** Where randomness comes from. Ids and nonces take `bytes`, jitter and sampling `uniform`. */
export interface Random {
  /** `length` random bytes, a fresh array each time. */
  bytes(length: number): Uint8Array<ArrayBuffer>
  /** A number in [0, 1) with 53 random bits. */
  uniform(): number
}

/** WebCrypto refuses to fill more at once. */
const MAX_FILL_BYTES = 65_536

/** The platform's cryptographic generator. */
export const systemRandom: Random = {
  bytes(length) {
    const bytes = new Uint8Array(length)
    for (let start = 0; start < length; start += MAX_FILL_BYTES) {
      crypto.getRandomValues(bytes.subarray(start, start + MAX_FILL_BYTES))
    }
    return bytes
  },
  uniform() {
    const words = crypto.getRandomValues(new Uint32Array(2))
    return fraction(words[0] as number, words[1] as number)
  },
}

/**
 * A repeatable generator for tests and simulations (sfc32 by Chris Doty-Humphrey). The same seed gives the same
 * sequence on every platform. Never for keys, ids or nonces of real peers.
 */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 | 0
  let b = 0x243f6a88 | 0
  let c = seed | 0
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  // Neighbouring seeds differ in few bits: run until the state is mixed.
  for (let round = 0; round < 16; round++) next()
  return {
    bytes(length) {
      const bytes = new Uint8Array(length)
      for (let i = 0; i < length; i++) bytes[i] = next() & 0xff
      return bytes
    },
    uniform: () => fraction(next(), next()),
  }
}

/** 26 bits of one word and 27 of the other, as a double in [0, 1). */
function fraction(high: number, low: number): number {
  return ((high >>> 6) * 2 ** 27 + (low >>> 5)) / 2 ** 53
}
