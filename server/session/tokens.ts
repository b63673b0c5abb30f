import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type Clock, ErrorReason, fromBase64Url, MeshError, type Random, toBase64Url } from '@mesh/core'
import { type ByteKey, byteKey } from '../byte-key.ts'

/** What a genuine token says. */
export interface TokenClaims {
  readonly sessionKey: ByteKey
  /** On the server's monotonic clock. */
  readonly expiresAtMs: number
}

const VERSION = 1
const SESSION_ID_BYTES = 16
const AUTHORITY_HASH_BYTES = 16
const MAC_BYTES = 32
const EXPIRY_AT = 1 + SESSION_ID_BYTES
const AUTHORITY_AT = EXPIRY_AT + 8
const MAC_AT = AUTHORITY_AT + AUTHORITY_HASH_BYTES
const TOKEN_BYTES = MAC_AT + MAC_BYTES
/** Genuine tokens that are remembered, about 300 bytes each; the oldest gives way and costs its owner one MAC. */
const MAX_REMEMBERED = 16_384
/** 73 bytes in unpadded base64url. */
const TOKEN_CHARACTERS = Math.ceil((TOKEN_BYTES * 4) / 3)

/**
 * Bearer tokens: version, session id, expiry, hash of the authority (host and port) they were issued under, and a MAC
 * under a key that lives as long as the process. Opaque to clients.
 *
 *     u8 version | 16 session | f64 expiry, monotonic ms | 16 SHA-256(authority) | 32 HMAC-SHA-256
 */
export class Tokens {
  readonly #macKey: Uint8Array
  readonly #clock: Clock
  /** Tokens that were found genuine, with what they say: a MAC per call is a fifth of a small call. */
  readonly #genuine = new Map<string, TokenClaims & { readonly authority: string }>()

  constructor(clock: Clock, random: Random) {
    this.#macKey = random.bytes(MAC_BYTES)
    this.#clock = clock
  }

  issue(sessionId: Uint8Array, authority: string, expiresAtMs: number): string {
    const bytes = new Uint8Array(TOKEN_BYTES)
    bytes[0] = VERSION
    bytes.set(sessionId, 1)
    new DataView(bytes.buffer).setFloat64(EXPIRY_AT, expiresAtMs)
    bytes.set(authorityHash(authority), AUTHORITY_AT)
    bytes.set(this.#mac(bytes), MAC_AT)
    return toBase64Url(bytes)
  }

  /**
   * @throws MeshError TOKEN_INVALID (not a token of this server), ORIGIN_MISMATCH (issued under another authority),
   * TOKEN_EXPIRED. Checked in this order: nothing is said about a token that is not genuine.
   */
  verify(token: string, authority: string): TokenClaims {
    const claims = this.#genuine.get(token)
    if (claims !== undefined && claims.authority === authority) return this.#unexpired(claims)
    const bytes = decode(token)
    if (bytes[0] !== VERSION || !timingSafeEqual(this.#mac(bytes), bytes.subarray(MAC_AT))) throw invalid()
    if (!timingSafeEqual(authorityHash(authority), bytes.subarray(AUTHORITY_AT, MAC_AT))) {
      throw new MeshError(ErrorReason.ORIGIN_MISMATCH, 'the token was issued under another host')
    }
    const expiresAtMs = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(EXPIRY_AT)
    const found = { sessionKey: byteKey(bytes.subarray(1, EXPIRY_AT)), expiresAtMs, authority }
    this.#remember(token, found)
    return this.#unexpired(found)
  }

  #unexpired(claims: TokenClaims): TokenClaims {
    if (claims.expiresAtMs > this.#clock.monotonicMs()) return claims
    throw new MeshError(ErrorReason.TOKEN_EXPIRED, 'the token expired; renew the session')
  }

  #remember(token: string, claims: TokenClaims & { readonly authority: string }): void {
    if (this.#genuine.size >= MAX_REMEMBERED) this.#genuine.delete(this.#genuine.keys().next().value as string)
    this.#genuine.set(token, claims)
  }

  #mac(bytes: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#macKey).update(bytes.subarray(0, MAC_AT)).digest()
  }
}

function decode(token: string): Uint8Array {
  if (token.length !== TOKEN_CHARACTERS) throw invalid()
  try {
    return fromBase64Url(token)
  } catch (cause) {
    throw invalid(cause)
  }
}

function authorityHash(authority: string): Uint8Array {
  return createHash('sha256').update(authority).digest().subarray(0, AUTHORITY_HASH_BYTES)
}

function invalid(cause?: unknown): MeshError {
  return new MeshError(ErrorReason.TOKEN_INVALID, 'the token is not one of this server', { cause })
}
