import { systemRandom, webCryptoAead } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { nodeAead } from './aead.ts'

const rawKey = systemRandom.bytes(16)
const nonce = new Uint8Array(12).fill(7)
const sizes = [0, 1, 15, 16, 17, 16_896]

describe('node aead', () => {
  it.each(sizes)('gives what WebCrypto gives for %d bytes, and opens what it sealed', async (size) => {
    const [node, web] = await Promise.all([nodeAead(rawKey), webCryptoAead(rawKey)])
    const plaintext = systemRandom.bytes(size)
    const sealed = await node.seal(nonce, plaintext)
    expect(new Uint8Array(sealed)).toEqual(await web.seal(nonce, plaintext))
    expect(new Uint8Array(await node.open(nonce, sealed))).toEqual(plaintext)
    expect(await web.open(nonce, sealed)).toEqual(plaintext)
  })

  it('refuses what was altered, and another nonce', async () => {
    const node = await nodeAead(rawKey)
    const sealed = new Uint8Array(await node.seal(nonce, new Uint8Array(40)))
    for (const position of [0, 39, 40, 55]) {
      const altered = sealed.slice()
      altered[position] = (altered[position] as number) ^ 1
      expect(() => node.open(nonce, altered)).toThrow()
    }
    expect(() => node.open(new Uint8Array(12), sealed)).toThrow()
    expect(() => node.open(nonce, sealed.subarray(1))).toThrow()
  })
})
