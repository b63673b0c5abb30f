import { ErrorReason, generateCryptoKeys, MeshError, signingKeyFromCryptoKeys } from '@mesh/core'
import { type Identity, type IdentityStore, MAX_IDENTITY_SLOTS, slotName } from '../identity/identity.ts'

/**
 * Identities in IndexedDB: the private key is a non-extractable CryptoKey, so a script that reads the store can use it but
 * not carry it away. A Web Lock marks the identity in use; it falls with the tab, however the tab ends.
 */

const DATABASE = 'mesh'
const STORE = 'identities'

interface StoredIdentity {
  readonly privateKey: CryptoKey
  readonly publicKey: Uint8Array
}

export function browserIdentityStore(): IdentityStore {
  return {
    async acquire(name) {
      for (let slot = 1; slot <= MAX_IDENTITY_SLOTS; slot++) {
        const release = await tryLock(`mesh-identity:${slotName(name, slot)}`)
        if (!release) continue
        try {
          return await openIdentity(slotName(name, slot), release)
        } catch (error) {
          release()
          throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, `identity "${name}" cannot be read or written`, {
            cause: error,
          })
        }
      }
      throw new MeshError(
        ErrorReason.IDENTITY_UNAVAILABLE,
        `all ${MAX_IDENTITY_SLOTS} identities of "${name}" are in use`,
        {
          limit: 'identity_slots',
          limitValue: MAX_IDENTITY_SLOTS,
        },
      )
    },
  }
}

/** Takes a Web Lock if it is free; the returned function gives it back. */
function tryLock(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(undefined)
        return new Promise<void>((release) => resolve(() => release()))
      })
      .catch(reject)
  })
}

async function openIdentity(slot: string, release: () => void): Promise<Identity> {
  const database = await openDatabase()
  try {
    const stored = await read(database, slot)
    const keys = stored ?? (await generateCryptoKeys({ extractable: false }))
    if (!stored) await write(database, slot, { privateKey: keys.privateKey, publicKey: keys.publicKey })
    return { key: signingKeyFromCryptoKeys(keys.privateKey, keys.publicKey), release: async () => release() }
  } finally {
    database.close()
  }
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(STORE)
  return settled(request)
}

function read(database: IDBDatabase, slot: string): Promise<StoredIdentity | undefined> {
  return settled(database.transaction(STORE).objectStore(STORE).get(slot))
}

async function write(database: IDBDatabase, slot: string, identity: StoredIdentity): Promise<void> {
  await settled(database.transaction(STORE, 'readwrite').objectStore(STORE).put(identity, slot))
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
