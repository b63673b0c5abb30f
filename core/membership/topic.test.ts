import { blake2b } from '@noble/hashes/blake2.js'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, fromHex, toHex, utf8Encode } from '../bytes.ts'
import { signingKeyFromSeed } from '../identity/ed25519.ts'
import { seededRandom } from '../random.ts'
import { expectRefusal } from '../testing/refusal.fixture.ts'
import { discoveryKey, identityTopic, openParty, partyFromName, partyFromPublicKey, partyPsk } from './topic.ts'

let key: Uint8Array

beforeAll(async () => {
  key = (await signingKeyFromSeed(new Uint8Array(32).fill(6))).publicKey
})

describe('discovery keys', () => {
  // From the documentation of Hypercore's wire protocol: BLAKE2b-256 of "hypercore", keyed.
  it('are the keyed hash of "hypercore"', () => {
    expect(toHex(discoveryKey(key))).toBe(toHex(blake2b(utf8Encode('hypercore'), { key, dkLen: 32 })))
  })

  it('differ from the topics of other kinds', () => {
    const all = [discoveryKey(key), identityTopic(key), partyPsk(key, discoveryKey(key)), key].map(toHex)
    expect(new Set(all).size).toBe(4)
  })

  it.each([0, 16, 31, 33, 64])('are not made from %i bytes', async (length) => {
    await expectRefusal(() => discoveryKey(seededRandom(1).bytes(length)), 'KEY_INVALID')
  })
})

describe('party psk', () => {
  it('is bound to its label, the topic and the key', () => {
    const topic = discoveryKey(key)
    const message = concatBytes(utf8Encode('mesh/1 party-psk'), Uint8Array.of(0), topic)
    expect(toHex(partyPsk(key, topic))).toBe(toHex(blake2b(message, { key, dkLen: 32 })))
  })
})

describe('parties', () => {
  it('from the same name are the same, and from another name are not', async () => {
    const [a, b, c] = await Promise.all([partyFromName('club'), partyFromName('club'), partyFromName('Club')])
    expect(toHex(a.topic)).toBe(toHex(b.topic))
    expect(toHex(a.topic)).not.toBe(toHex(c.topic))
    expect(toHex(a.key.publicKey)).toBe(toHex(a.publicKey as Uint8Array))
    expect(toHex(partyFromPublicKey(a.key.publicKey).psk as Uint8Array)).toBe(toHex(a.psk as Uint8Array))
  })

  it('from a name are the same however its accents are typed', async () => {
    const [composed, combining] = await Promise.all([partyFromName('caf\u00e9'), partyFromName('cafe\u0301')])
    expect(toHex(composed.topic)).toBe(toHex(combining.topic))
  })

  it.each([
    ['is empty', ''],
    ['has 257 bytes', 'x'.repeat(257)],
    ['has 129 letters of two bytes', 'é'.repeat(129)],
  ])('do not come from a name that %s', async (_, name) => {
    await expectRefusal(() => partyFromName(name), 'ADDRESS_INVALID')
  })

  it('do not come from a key that is none', async () => {
    await expectRefusal(() => partyFromPublicKey(new Uint8Array(32)), 'KEY_INVALID')
    await expectRefusal(() => partyFromPublicKey(key.subarray(1)), 'KEY_INVALID')
  })

  it('without a key have a topic and no secret', async () => {
    const topic = fromHex('ab'.repeat(32))
    expect(openParty(topic)).toEqual({ topic, psk: undefined, publicKey: undefined })
    await expectRefusal(() => openParty(new Uint8Array(32)), 'ADDRESS_INVALID')
    await expectRefusal(() => openParty(topic.subarray(1)), 'ADDRESS_INVALID')
  })
})
