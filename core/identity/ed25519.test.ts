import { describe, expect, it } from 'vitest'
import { compareBytes, fromHex, toHex, utf8Encode } from '../bytes.ts'
import { SPECCHECK_ACCEPTED, SPECCHECK_VECTORS } from '../testing/ed25519-speccheck.fixture.ts'
import { bitFlips, expectRefusal } from '../testing/refusal.fixture.ts'
import {
  checkPublicKey,
  generateCryptoKeys,
  generateSigningKey,
  signingKeyFromCryptoKeys,
  signingKeyFromSeed,
  verifyStrict,
} from './ed25519.ts'

/** Order of the prime subgroup, RFC 8032 §5.1. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n

describe('strict Ed25519', () => {
  it.each(SPECCHECK_VECTORS.map((vector, number) => ({ ...vector, number })))(
    'decides speccheck vector #$number ($about) as every runtime must',
    async ({ number, message, publicKey, signature }) => {
      const valid = await verifyStrict(fromHex(publicKey), fromHex(message), fromHex(signature))
      expect(valid).toBe(number === SPECCHECK_ACCEPTED)
    },
  )

  // RFC 8032 §7.1, TEST 1 to 3.
  it.each([
    [
      '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      '',
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ],
    [
      '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      '72',
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    ],
    [
      'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
      'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
      'af82',
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    ],
  ])('signs as RFC 8032 says when the seed is %s', async (seed, publicKey, message, signature) => {
    const key = await signingKeyFromSeed(fromHex(seed))
    expect(toHex(key.publicKey)).toBe(publicKey)
    expect(toHex(await key.sign(fromHex(message)))).toBe(signature)
    expect(await verifyStrict(key.publicKey, fromHex(message), fromHex(signature))).toBe(true)
  })

  it('refuses a signature when any of its bits is flipped', async () => {
    const key = await signingKeyFromSeed(new Uint8Array(32).fill(1))
    const message = utf8Encode('message')
    const accepted: number[] = []
    for (const { bit, flipped } of bitFlips(await key.sign(message))) {
      if (await verifyStrict(key.publicKey, message, flipped)) accepted.push(bit)
    }
    expect(accepted).toEqual([])
  })

  it('refuses S + L, the malleated form of a valid signature', async () => {
    const key = await signingKeyFromSeed(new Uint8Array(32).fill(2))
    const message = utf8Encode('message')
    const signature = await key.sign(message)
    let scalar = 0n
    for (let i = 63; i >= 32; i--) scalar = (scalar << 8n) | BigInt(signature[i] as number)
    scalar += L
    const malleated = Uint8Array.from(signature)
    for (let i = 32; i < 64; i++) {
      malleated[i] = Number(scalar & 0xffn)
      scalar >>= 8n
    }
    expect(await verifyStrict(key.publicKey, message, malleated)).toBe(false)
  })

  it.each([0, 63, 65, 128])('refuses a signature of %i bytes', async (length) => {
    const key = await signingKeyFromSeed(new Uint8Array(32).fill(3))
    expect(await verifyStrict(key.publicKey, new Uint8Array(), new Uint8Array(length))).toBe(false)
  })

  it('refuses a key that is not on the curve without throwing', async () => {
    const signature = await (await signingKeyFromSeed(new Uint8Array(32).fill(4))).sign(new Uint8Array())
    const offCurve = new Uint8Array(32).fill(0)
    offCurve[0] = 2
    expect(await verifyStrict(offCurve, new Uint8Array(), signature)).toBe(false)
  })
})

describe('signing keys', () => {
  it('are fresh each time when generated', async () => {
    const [a, b] = [await generateSigningKey(), await generateSigningKey()]
    expect(compareBytes(a.publicKey, b.publicKey)).not.toBe(0)
    const message = utf8Encode('hello')
    expect(await verifyStrict(a.publicKey, message, await a.sign(message))).toBe(true)
    expect(await verifyStrict(b.publicKey, message, await a.sign(message))).toBe(false)
  })

  it('cannot be read out when they are not extractable', async () => {
    const { privateKey, publicKey } = await generateCryptoKeys({ extractable: false })
    await expect(crypto.subtle.exportKey('pkcs8', privateKey)).rejects.toThrow()
    const key = signingKeyFromCryptoKeys(privateKey, publicKey)
    const message = utf8Encode('hello')
    expect(await verifyStrict(publicKey, message, await key.sign(message))).toBe(true)
  })

  it.each([0, 31, 33, 64])('do not come from a seed of %i bytes', async (length) => {
    await expectRefusal(() => signingKeyFromSeed(new Uint8Array(length)), 'KEY_INVALID')
  })
})

describe('checkPublicKey', () => {
  it('accepts what a signer makes', async () => {
    checkPublicKey((await generateSigningKey()).publicKey)
  })

  it.each([
    ['of 31 bytes', '00'.repeat(31)],
    ['of 33 bytes', '11'.repeat(33)],
    ['the neutral element', `01${'00'.repeat(31)}`],
    ['of order 2', `ec${'ff'.repeat(30)}7f`],
    ['of order 4', '00'.repeat(32)],
    ['of order 4, other sign', `${'00'.repeat(31)}80`],
    ['of order 8', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'],
    ['of order 8, other sign', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa'],
    ['of order 8, other y', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'],
    ['not canonical: p', `ed${'ff'.repeat(30)}7f`],
    ['not canonical: p + 1', `ee${'ff'.repeat(30)}7f`],
    ['not canonical: 2^255 - 1', `${'ff'.repeat(31)}7f`],
    ['the neutral element with a sign', `01${'00'.repeat(30)}80`],
  ])('refuses a key that is %s', async (_, key) => {
    await expectRefusal(() => checkPublicKey(fromHex(key)), 'KEY_INVALID')
  })
})
