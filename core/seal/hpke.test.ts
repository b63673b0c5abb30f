import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8Encode } from '../bytes.ts'
import { suiteWithEphemeral } from '../testing/fixed-ephemeral.fixture.ts'
import { expectRefusal } from '../testing/refusal.fixture.ts'
import { HPKE_SUITE, hpkeOpen, hpkeSeal } from './hpke.ts'

/** RFC 9180 Appendix A.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM; first message and all exports. */
const RFC_9180_A_1 = [
  {
    name: 'A.1.1 Base',
    ikmE: '7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234',
    ikmR: '6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037',
    recipientKey: '3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d',
    enc: '37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431',
    psk: undefined,
    ciphertext: 'f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a',
    exports: {
      '': '3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee',
      '00': '2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5',
      '54657374436f6e74657874': 'e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931',
    },
  },
  {
    name: 'A.1.2 PSK',
    ikmE: '78628c354e46f3e169bd231be7b2ff1c77aa302460a26dbfa15515684c00130b',
    ikmR: 'd4a09d09f575fef425905d2ab396c1449141463f698f8efdb7accfaff8995098',
    recipientKey: '9fed7e8c17387560e92cc6462a68049657246a09bfa8ade7aefe589672016366',
    enc: '0ad0950d9fb9588e59690b74f1237ecdf1d775cd60be2eca57af5a4b0471c91b',
    psk: {
      secret: fromHex('0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82'),
      id: fromHex('456e6e796e20447572696e206172616e204d6f726961'),
    },
    ciphertext: 'e52c6fed7f758d0cf7145689f21bc1be6ec9ea097fef4e959440012f4feb73fb611b946199e681f4cfc34db8ea',
    exports: {
      '': 'dff17af354c8b41673567db6259fd6029967b4e1aad13023c2ae5df8f4f43bf6',
      '00': '6a847261d8207fe596befb52928463881ab493da345b10e1dcc645e3b94e2d95',
      '54657374436f6e74657874': '8aff52b45a1be3a734bc7a41e20b4e055ad4c4d22104b0c20285a7c4302401cd',
    },
  },
]

const info = fromHex('4f6465206f6e2061204772656369616e2055726e')
const aad = fromHex('436f756e742d30')
const plaintext = fromHex('4265617574792069732074727574682c20747275746820626561757479')

describe.each(RFC_9180_A_1)('RFC 9180 $name', (vector) => {
  const exports = Object.entries(vector.exports).map(([context, value]) => ({ context: fromHex(context), value }))

  it('is what this construction seals when the ephemeral key is that of the vector', async () => {
    const suite = await suiteWithEphemeral(fromHex(vector.ikmE))
    const recipientKey = fromHex(vector.recipientKey)
    for (const { context, value } of exports) {
      const agreed = { info, aad, psk: vector.psk, exporterContext: context }
      const sealed = await hpkeSeal({ ...agreed, suite, recipientKey, plaintext })
      expect(toHex(sealed.enc)).toBe(vector.enc)
      expect(toHex(sealed.ciphertext)).toBe(vector.ciphertext)
      expect(toHex(sealed.exported)).toBe(value)
    }
  })

  it('is what this construction opens, with the same exported secrets', async () => {
    const pair = await HPKE_SUITE.DeriveKeyPair(fromHex(vector.ikmR), true)
    const sealed = { enc: fromHex(vector.enc), ciphertext: fromHex(vector.ciphertext) }
    for (const { context, value } of exports) {
      const opened = await hpkeOpen({ info, aad, psk: vector.psk, exporterContext: context, pair, ...sealed })
      expect(toHex(opened.plaintext)).toBe(toHex(plaintext))
      expect(toHex(opened.exported)).toBe(value)
    }
  })
})

describe('HPKE', () => {
  const agreed = { info, exporterContext: utf8Encode('context') }
  const psk = { secret: new Uint8Array(32).fill(1), id: utf8Encode('id') }

  it('opens with a private key that cannot be extracted', async () => {
    const pair = await HPKE_SUITE.GenerateKeyPair()
    await expect(crypto.subtle.exportKey('pkcs8', pair.privateKey)).rejects.toThrow()
    const recipientKey = await HPKE_SUITE.SerializePublicKey(pair.publicKey)
    const { enc, ciphertext, exported } = await hpkeSeal({ ...agreed, recipientKey, plaintext })
    const opened = await hpkeOpen({ ...agreed, pair, enc, ciphertext })
    expect(toHex(opened.plaintext)).toBe(toHex(plaintext))
    expect(toHex(opened.exported)).toBe(toHex(exported))
  })

  it('never seals twice alike', async () => {
    const pair = await HPKE_SUITE.GenerateKeyPair()
    const recipientKey = await HPKE_SUITE.SerializePublicKey(pair.publicKey)
    const [a, b] = [1, 2].map(() => hpkeSeal({ ...agreed, recipientKey, plaintext }))
    expect(toHex((await a)?.enc as Uint8Array)).not.toBe(toHex((await b)?.enc as Uint8Array))
  })

  it.each([
    ['the info', { info: utf8Encode('other') }],
    ['the additional data', { aad: utf8Encode('other') }],
    ['the mode', { psk: undefined }],
    ['the psk', { psk: { ...psk, secret: new Uint8Array(32).fill(2) } }],
    ['the psk id', { psk: { ...psk, id: utf8Encode('other') } }],
  ])('does not open when %s is another', async (_, change) => {
    const pair = await HPKE_SUITE.GenerateKeyPair()
    const recipientKey = await HPKE_SUITE.SerializePublicKey(pair.publicKey)
    const { enc, ciphertext } = await hpkeSeal({ ...agreed, psk, recipientKey, plaintext })
    await expectRefusal(() => hpkeOpen({ ...agreed, psk, ...change, pair, enc, ciphertext }), 'SEAL_OPEN')
  })

  it.each([
    ['zero', '00'.repeat(32)],
    ['of low order', 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'],
    ['not canonical', 'ff'.repeat(32)],
    ['of 31 bytes', '09'.repeat(31)],
  ])('neither seals to nor opens from a key that is %s', async (_, hex) => {
    const pair = await HPKE_SUITE.GenerateKeyPair()
    const key = fromHex(hex)
    await expectRefusal(() => hpkeSeal({ ...agreed, recipientKey: key, plaintext }), 'SEAL_KEY')
    await expectRefusal(() => hpkeOpen({ ...agreed, pair, enc: key, ciphertext: new Uint8Array(32) }), 'SEAL_KEY')
  })
})
