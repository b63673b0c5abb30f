import { generateSigningKey, toHex } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { ephemeralIdentity, firstFreeIdentity, identityFromKey, slotName } from './identity.ts'

describe('identities that are not stored', () => {
  it('use the key they are given', async () => {
    const key = await generateSigningKey()
    const identity = identityFromKey(key)
    expect(identity.key).toBe(key)
    await identity.release()
    await identity.release()
  })

  it('are different each time when they are ephemeral', async () => {
    const [a, b] = await Promise.all([ephemeralIdentity(), ephemeralIdentity()])
    expect(toHex(a.key.publicKey)).not.toBe(toHex(b.key.publicKey))
  })
})

describe('slotName', () => {
  it('gives the first identity its own name and numbers the others', () => {
    expect([1, 2, 64].map((slot) => slotName('default', slot))).toEqual(['default', 'default-2', 'default-64'])
  })
})

describe('firstFreeIdentity', () => {
  it('takes the first slot that is free', async () => {
    const asked: string[] = []
    const identity = await ephemeralIdentity()
    const taken = await firstFreeIdentity('default', async (slot) => {
      asked.push(slot)
      return asked.length === 3 ? identity : undefined
    })
    expect(taken).toBe(identity)
    expect(asked).toEqual(['default', 'default-2', 'default-3'])
  })

  it('says so when all 64 are held', async () => {
    const refused = firstFreeIdentity('default', async () => undefined)
    await expect(refused).rejects.toMatchObject({ reasonName: 'IDENTITY_UNAVAILABLE', limit: 'identity_slots' })
  })
})
