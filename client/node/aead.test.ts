import { deriveLinkKeys, ErrorReason, systemRandom, webCryptoAead } from '@mesh/core'
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

  it('seals and opens packets at once, into bytes of their own', async () => {
    const agreement = {
      exportHello: systemRandom.bytes(32),
      exportHelloReply: systemRandom.bytes(32),
      connectionId: systemRandom.bytes(16),
      topic: systemRandom.bytes(32),
      lowerKey: new Uint8Array(32).fill(1),
      higherKey: new Uint8Array(32).fill(2),
      lowerSessionId: systemRandom.bytes(16),
      higherSessionId: systemRandom.bytes(16),
      aead: nodeAead,
    }
    const { send: sealer } = await deriveLinkKeys({ ...agreement, role: 'lower' })
    const { receive: opener } = await deriveLinkKeys({ ...agreement, role: 'higher' })
    const plaintext = systemRandom.bytes(100)
    const expected = plaintext.slice()
    const packet = sealer.seal(plaintext)
    if (packet instanceof Promise) throw new Error('a promise')
    plaintext.fill(0)
    expect(packet.number).toBe(1n)
    expect(new Uint8Array(opener.open(packet) as Uint8Array)).toEqual(expected)
    expect(() => opener.open(packet)).toThrow(expect.objectContaining({ reason: ErrorReason.LINK_REPLAY }))
  })
})
