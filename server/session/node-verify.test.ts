import { readFile } from 'node:fs/promises'
import { fromHex, generateSigningKey, systemRandom, verifyStrict } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { nodeVerify } from './node-verify.ts'

interface StrictVector {
  readonly about: string
  readonly publicKey: string
  readonly message: string
  readonly signature: string
  readonly valid: boolean
}

const file = new URL('../../docs/vectors/ed25519-strict.json', import.meta.url)
const { vectors } = JSON.parse(await readFile(file, 'utf8')) as { vectors: StrictVector[] }

describe('node verify', () => {
  it('accepts a signature and refuses it for another message, key or signature', async () => {
    const key = await generateSigningKey()
    const message = systemRandom.bytes(100)
    const signature = await key.sign(message)
    const altered = signature.slice()
    altered[1] = (altered[1] as number) ^ 1
    const other = await generateSigningKey()
    expect(await verifyStrict(key.publicKey, message, signature, nodeVerify)).toBe(true)
    expect(await verifyStrict(key.publicKey, systemRandom.bytes(100), signature, nodeVerify)).toBe(false)
    expect(await verifyStrict(other.publicKey, message, signature, nodeVerify)).toBe(false)
    expect(await verifyStrict(key.publicKey, message, altered, nodeVerify)).toBe(false)
  })

  it.each(vectors)('decides as everybody does: $about', async ({ publicKey, message, signature, valid }) => {
    const decided = await verifyStrict(fromHex(publicKey), fromHex(message), fromHex(signature), nodeVerify)
    expect(decided).toBe(valid)
  })
})
