import { ErrorReason, generateCryptoKeys, MeshError, signingKeyFromCryptoKeys } from '@mesh/core'
import { firstFreeIdentity, type Identity, type IdentityStore } from '../identity/identity.ts'

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
      requireSecureContext()
      return firstFreeIdentity(name, async (slot) => {
        const release = await tryLock(`mesh-identity:${slot}`)
        if (!release) return undefined
        try {
          return await openIdentity(slot, release)
        } catch (error) {
          await release()
          throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, `identity "${name}" cannot be read or written`, {
            cause: error,
          })
        }
      })
    },
  }
}

/** Web Locks and WebCrypto exist in secure contexts only. */
function requireSecureContext(): void {
  if (globalThis.isSecureContext) return
  const message = 'identities can be kept on pages served by https or from localhost only'
  throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, message)
}

/** Takes a Web Lock if it is free; the returned function gives it back, and resolves when it is free again. */
function tryLock(name: string): Promise<(() => Promise<void>) | undefined> {
  return new Promise((resolve, reject) => {
    const held = Promise.withResolvers<void>()
    const request: Promise<void> = navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (!lock) return resolve(undefined)
      resolve(() => {
        held.resolve()
        return request
      })
      await held.promise
    })
    request.catch(reject)
  })
}

async function openIdentity(slot: string, release: () => Promise<void>): Promise<Identity> {
  const database = await openDatabase()
  try {
    const stored = await read(database, slot)
    const keys = stored ?? (await generateCryptoKeys({ extractable: false }))
    if (!stored) await write(database, slot, { privateKey: keys.privateKey, publicKey: keys.publicKey })
    return { key: signingKeyFromCryptoKeys(keys.privateKey, keys.publicKey), release }
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
  const transaction = database.transaction(STORE, 'readwrite')
  // What the request stored can still be lost: only the transaction's end is final.
  const committed = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error)
  })
  await settled(transaction.objectStore(STORE).put(identity, slot))
  await committed
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
