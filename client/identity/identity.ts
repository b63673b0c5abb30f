import { ErrorReason, generateSigningKey, MeshError, type SigningKey } from '@mesh/core'

/** A peer's long-lived key, held for as long as a client uses it. */
export interface Identity {
  readonly key: SigningKey
  /** Lets other processes or tabs use the identity again. Idempotent. */
  release(): Promise<void>
}

/**
 * Where identities are kept between runs.
 *
 * Two processes (or tabs) with one key would take the peer's session over from each other, so an identity is held
 * exclusively: `acquire('default')` gives the first free one of "default", "default-2", "default-3" ... and creates it on
 * first use.
 */
export interface IdentityStore {
  /** Rejects with IDENTITY_UNAVAILABLE when none can be read or written. `name`: 1 to 64 of [a-z0-9-]. */
  acquire(name: string): Promise<Identity>
}

/** How many identities of one name can be in use at once. */
export const MAX_IDENTITY_SLOTS = 64

/** Name of the n-th identity (from 1) of a name. */
export function slotName(name: string, slot: number): string {
  return slot === 1 ? name : `${name}-${slot}`
}

/**
 * Takes the first identity of a name that nobody holds. `tryAcquire` gets the names of the slots in turn and answers undefined
 * for one that is held. Rejects with IDENTITY_UNAVAILABLE when all are, and with what `tryAcquire` rejects with.
 */
export async function firstFreeIdentity(
  name: string,
  tryAcquire: (slotName: string) => Promise<Identity | undefined>,
): Promise<Identity> {
  for (let slot = 1; slot <= MAX_IDENTITY_SLOTS; slot++) {
    const identity = await tryAcquire(slotName(name, slot))
    if (identity) return identity
  }
  throw new MeshError(
    ErrorReason.IDENTITY_UNAVAILABLE,
    `all ${MAX_IDENTITY_SLOTS} identities of "${name}" are in use`,
    {
      limit: 'identity_slots',
      limitValue: MAX_IDENTITY_SLOTS,
    },
  )
}

/** Wraps a key the caller keeps itself. */
export function identityFromKey(key: SigningKey): Identity {
  return { key, release: async () => {} }
}

/** A fresh key that is never stored. */
export async function ephemeralIdentity(): Promise<Identity> {
  return identityFromKey(await generateSigningKey())
}
