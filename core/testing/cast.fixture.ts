import { utf8Encode } from '../bytes.ts'
import type { SigningKey } from '../identity/ed25519.ts'
import { signingKeyFromSeed } from '../identity/ed25519.ts'
import type { Party } from '../membership/topic.ts'
import { partyFromPublicKey } from '../membership/topic.ts'
import { HPKE_SUITE } from '../seal/hpke.ts'
import type { SessionKeyPair } from '../seal/seal.ts'

/** One peer of the tests and test vectors: the same keys every time. */
export interface Actor {
  readonly seed: Uint8Array
  readonly key: SigningKey
  readonly sessionId: Uint8Array
  /** Input of HPKE's DeriveKeyPair (RFC 9180 §7.1.3) for the session key. */
  readonly sessionSeed: Uint8Array
  readonly sessionKey: SessionKeyPair
}

/** Alice has the lower key, Bob the higher one; Mallory is up to no good. */
export interface Cast {
  readonly alice: Actor
  readonly bob: Actor
  readonly mallory: Actor
  /** The signaling server's key. */
  readonly server: SigningKey
  readonly party: Party & { readonly psk: Uint8Array; readonly publicKey: Uint8Array }
}

/** 2026-03-01T12:00:00Z: "now" of the tests and vectors. */
export const CAST_NOW_MS = 1_772_366_400_000

export async function assembleCast(): Promise<Cast> {
  const server = await signingKeyFromSeed(fill('server key'))
  const partyKey = await signingKeyFromSeed(fill('party key'))
  const party = partyFromPublicKey(partyKey.publicKey)
  return {
    alice: await actor('alice'),
    bob: await actor('bob'),
    mallory: await actor('mallory'),
    server,
    party: { ...party, psk: party.psk as Uint8Array, publicKey: partyKey.publicKey },
  }
}

async function actor(name: string): Promise<Actor> {
  const seed = fill(`${name} key`)
  const sessionSeed = fill(`${name} session key`)
  const pair = await HPKE_SUITE.DeriveKeyPair(sessionSeed, true)
  return {
    seed,
    key: await signingKeyFromSeed(seed),
    sessionId: fill(`${name} session`).subarray(0, 16),
    sessionSeed,
    sessionKey: { publicKey: await HPKE_SUITE.SerializePublicKey(pair.publicKey), pair },
  }
}

/** 32 bytes that can be recognised in a dump: the name, again and again. */
function fill(name: string): Uint8Array<ArrayBuffer> {
  return utf8Encode(`${name} `.repeat(32)).slice(0, 32)
}
