import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Clock, ErrorReason, MeshError, type Random } from '@mesh/core'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { DeadlineHeap } from '../directory/deadline-heap.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'

const NONCE_BYTES = 16
const MAC_BYTES = 16
const NONCE_AT = 8
const MAC_AT = NONCE_AT + NONCE_BYTES
/** GetChallengeResponse.challenge: 16 to 128 bytes. */
const CHALLENGE_BYTES = MAC_AT + MAC_BYTES

/**
 * Challenges without state: anybody may ask for any number of them and nothing is stored. Only an answered one is
 * remembered, by its nonce, until it would have expired anyway: that is what makes it good for one use.
 *
 *     f64 issued, monotonic ms | 16 nonce | 16 HMAC-SHA-256 (truncated)
 */
export class Challenges {
  readonly #limits: ServerLimits
  readonly #clock: Clock
  readonly #random: Random
  readonly #macKey: Uint8Array
  readonly #used = new Set<ByteKey>()
  readonly #expiries = new DeadlineHeap<ByteKey>()

  constructor(limits: ServerLimits, clock: Clock, random: Random) {
    this.#limits = limits
    this.#clock = clock
    this.#random = random
    this.#macKey = random.bytes(32)
  }

  issue(): Uint8Array {
    const challenge = new Uint8Array(CHALLENGE_BYTES)
    new DataView(challenge.buffer).setFloat64(0, this.#clock.monotonicMs())
    challenge.set(this.#random.bytes(NONCE_BYTES), NONCE_AT)
    challenge.set(this.#mac(challenge), MAC_AT)
    return challenge
  }

  /**
   * Checks a challenge, without using it up: a proof that turns out to be wrong does not spend somebody else's challenge.
   * @throws MeshError CHALLENGE_INVALID (not of this server), CHALLENGE_EXPIRED, CHALLENGE_USED.
   */
  check(challenge: Uint8Array): void {
    if (
      challenge.byteLength !== CHALLENGE_BYTES ||
      !timingSafeEqual(this.#mac(challenge), challenge.subarray(MAC_AT))
    ) {
      throw new MeshError(ErrorReason.CHALLENGE_INVALID, 'the challenge is not one of this server')
    }
    if (this.#clock.monotonicMs() >= this.#expiryOf(challenge)) {
      throw new MeshError(ErrorReason.CHALLENGE_EXPIRED, 'the challenge expired; get a new one', {
        limit: 'challenge_ttl_ms',
        limitValue: this.#limits.challengeTtlMs,
      })
    }
    if (this.#used.has(nonceOf(challenge))) throw used()
  }

  /** Checks a challenge and uses it up. @throws as `check`, and LIMIT_EXCEEDED (max_used_challenges). */
  spend(challenge: Uint8Array): void {
    this.check(challenge)
    this.#forgetExpired()
    if (this.#used.size >= this.#limits.maxUsedChallenges) {
      // Forgetting one early would make it good for a second use: refuse instead.
      throw limitError('maxUsedChallenges', this.#limits.maxUsedChallenges, { retryAfterMs: 1_000 })
    }
    const nonce = nonceOf(challenge)
    this.#used.add(nonce)
    this.#expiries.add(this.#expiryOf(challenge), nonce)
  }

  #forgetExpired(): void {
    const nowMs = this.#clock.monotonicMs()
    for (let nonce = this.#expiries.popDue(nowMs); nonce !== undefined; nonce = this.#expiries.popDue(nowMs)) {
      this.#used.delete(nonce)
    }
  }

  #expiryOf(challenge: Uint8Array): number {
    const issuedMs = new DataView(challenge.buffer, challenge.byteOffset).getFloat64(0)
    return issuedMs + this.#limits.challengeTtlMs
  }

  #mac(challenge: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#macKey).update(challenge.subarray(0, MAC_AT)).digest().subarray(0, MAC_BYTES)
  }
}

function nonceOf(challenge: Uint8Array): ByteKey {
  return byteKey(challenge.subarray(NONCE_AT, MAC_AT))
}

function used(): MeshError {
  return new MeshError(ErrorReason.CHALLENGE_USED, 'the challenge was used before; get a new one')
}
