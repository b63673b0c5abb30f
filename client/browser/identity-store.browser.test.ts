import { ErrorReason, equalBytes, verifyStrict } from '@mesh/core'
import { afterEach, describe, expect, it } from 'vitest'
import type { Identity } from '../identity/identity.ts'
import { browserIdentityStore } from './identity-store.ts'

const held: Identity[] = []

async function acquire(name: string): Promise<Identity> {
  const identity = await browserIdentityStore().acquire(name)
  held.push(identity)
  return identity
}

/** What the database holds under a name, as a script of the page would read it. */
async function stored(name: string): Promise<{ privateKey: CryptoKey; publicKey: Uint8Array } | undefined> {
  const database = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open('mesh')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return new Promise((resolve, reject) => {
    const request = database.transaction('identities').objectStore('identities').get(name)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
    database.close()
  })
}

afterEach(async () => {
  await Promise.all(held.splice(0).map((identity) => identity.release()))
})

describe('identities of a browser', () => {
  it('persist, and sign what their public key verifies', async () => {
    const first = await acquire('persistent')
    await first.release()
    const second = await acquire('persistent')
    expect(equalBytes(second.key.publicKey, first.key.publicKey)).toBe(true)
    const message = new TextEncoder().encode('hello')
    expect(await verifyStrict(first.key.publicKey, message, await second.key.sign(message))).toBe(true)
  })

  it('cannot be carried away: the stored key is not extractable', async () => {
    const identity = await acquire('locked')
    const entry = await stored('locked')
    expect(entry && equalBytes(entry.publicKey, identity.key.publicKey)).toBe(true)
    expect(entry?.privateKey.extractable).toBe(false)
    await expect(crypto.subtle.exportKey('pkcs8', entry?.privateKey as CryptoKey)).rejects.toThrow()
  })

  it('are held exclusively: the second holder gets the second identity, and the first one when it is free again', async () => {
    const first = await acquire('shared')
    const second = await acquire('shared')
    expect(equalBytes(second.key.publicKey, first.key.publicKey)).toBe(false)
    expect((await stored('shared-2'))?.publicKey).toEqual(second.key.publicKey)
    await first.release()
    await first.release()
    const third = await acquire('shared')
    expect(equalBytes(third.key.publicKey, first.key.publicKey)).toBe(true)
  })

  it('are released when they cannot be opened, and say so', async () => {
    const open = indexedDB.open.bind(indexedDB)
    indexedDB.open = () => {
      throw new DOMException('denied', 'SecurityError')
    }
    const refused = await acquire('denied').catch((error: unknown) => error)
    indexedDB.open = open
    expect(refused).toMatchObject({ reason: ErrorReason.IDENTITY_UNAVAILABLE })
    await acquire('denied')
    expect(await stored('denied')).toBeDefined()
    expect(await stored('denied-2')).toBeUndefined()
  })
})
