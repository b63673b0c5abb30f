import { ErrorReason, formatPeerId, generateSigningKey, MeshError, openParty, toHex } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { parseMeshAddress, resolveParty, serverOrigins } from './address.ts'

const HEX = 'ab'.repeat(32)
const BYTES = new Uint8Array(32).fill(0xab)

function refusal(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(MeshError)
    expect((error as MeshError).reason).toBe(ErrorReason.ADDRESS_INVALID)
    return (error as MeshError).message
  }
  throw new Error('nothing was refused')
}

describe('parseMeshAddress', () => {
  it.each([
    ['mesh://mesh.example/our-party', 'https://mesh.example', 'our-party'],
    ['mesh://mesh.example:8443/our-party', 'https://mesh.example:8443', 'our-party'],
    ['mesh://MESH.Example/Our-Party', 'https://mesh.example', 'Our-Party'],
    ['mesh://localhost/p', 'http://localhost:4600', 'p'],
    ['mesh://LocalHost/p', 'http://localhost:4600', 'p'],
    ['mesh://localhost:80/p', 'http://localhost', 'p'],
    ['mesh://127.0.0.1:4700/p', 'http://127.0.0.1:4700', 'p'],
    ['mesh://[::1]/p', 'http://[::1]:4600', 'p'],
    ['mesh://[::1]:4700/p', 'http://[::1]:4700', 'p'],
    ['mesh://127.0.0.1.example/p', 'https://127.0.0.1.example', 'p'],
    ['mesh+http://mesh.example/p', 'http://mesh.example', 'p'],
    ['mesh+https://localhost/p', 'https://localhost', 'p'],
    ['http://localhost:4600/p', 'http://localhost:4600', 'p'],
    ['https://mesh.example:443/p', 'https://mesh.example', 'p'],
    ['mesh://mesh.example/p/', 'https://mesh.example', 'p'],
    ['mesh://mesh.example/caf%C3%A9%20%F0%9F%8E%89', 'https://mesh.example', 'café 🎉'],
    ['mesh://mesh.example/cafe%CC%81', 'https://mesh.example', 'café'],
    ['mesh://mesh.example', 'https://mesh.example', undefined],
    ['mesh://mesh.example/', 'https://mesh.example', undefined],
    ['mesh://mesh.example/key', 'https://mesh.example', 'key'],
    [`mesh://mesh.example/key/${HEX}`, 'https://mesh.example', BYTES],
    [`mesh://mesh.example/key/${HEX.toUpperCase()}`, 'https://mesh.example', BYTES],
    [`mesh://mesh.example/topic/${HEX}`, 'https://mesh.example', { topic: BYTES }],
  ])('reads %s', (text, origin, party) => {
    expect(parseMeshAddress(text)).toEqual({ origins: [origin], party })
  })

  it('reads several servers, each once', () => {
    const { origins, party } = parseMeshAddress('mesh://a.example,localhost,B.example:8443,a.example:443/p')
    expect(origins).toEqual(['https://a.example', 'http://localhost:4600', 'https://b.example:8443'])
    expect(party).toBe('p')
    expect(refusal(() => parseMeshAddress('mesh://a.example,/p'))).toContain('has no valid host and port')
    expect(refusal(() => parseMeshAddress('mesh://a.example,me@b.example/p'))).toContain('holds credentials')
  })

  it.each([
    ['', 'is not of the form mesh://host[:port]/party'],
    ['our-party', 'is not of the form'],
    ['ws://mesh.example/p', 'is not of the form'],
    ['MESH://mesh.example/p', 'is not of the form'],
    ['mesh:///p', 'is not of the form'],
    ['mesh://mesh.example/p?x=1', 'is not of the form'],
    ['mesh://mesh.example/p#x', 'is not of the form'],
    ['mesh://me:secret@mesh.example/p', 'holds credentials'],
    ['mesh://mesh.example:99999/p', 'has no valid host and port'],
    ['mesh://mesh.example:port/p', 'has no valid host and port'],
    ['mesh://me sh/p', 'has no valid host and port'],
    ['mesh://mesh.example/%E0%A4%A', 'has a broken % escape'],
    ['mesh://mesh.example/%ff', 'has a broken % escape'],
    ['mesh://mesh.example/a/b', 'has the unknown path "a/"'],
    ['mesh://mesh.example/a/b/c', 'has more than one party'],
    ['mesh://mesh.example/key/abc', 'needs 64 hexadecimal digits after key/, found 3'],
    [`mesh://mesh.example/topic/${HEX}00`, 'needs 64 hexadecimal digits after topic/, found 66'],
    [`mesh://mesh.example/key/${HEX.slice(2)}zz`, 'needs 64 hexadecimal digits'],
  ])('refuses %j', (text, why) => {
    expect(refusal(() => parseMeshAddress(text))).toContain(why)
  })

  it('does not repeat a huge address in its error', () => {
    expect(refusal(() => parseMeshAddress(`mesh://mesh.example/${'a'.repeat(100_000)}/b/c`)).length).toBeLessThan(300)
  })
})

describe('serverOrigins', () => {
  it.each([
    ['one', 'mesh://localhost', ['http://localhost:4600']],
    ['one with a slash', 'https://mesh.example/', ['https://mesh.example']],
    ['several', ['mesh://a.example', 'https://b.example'], ['https://a.example', 'https://b.example']],
    ['several in one address', 'mesh://a.example,b.example', ['https://a.example', 'https://b.example']],
    ['one named twice', ['mesh://a.example', 'https://A.example:443/'], ['https://a.example']],
  ])('reads %s', (_what, servers, origins) => expect(serverOrigins(servers)).toEqual(origins))

  it('refuses an address that names a party, none at all, and more than eight', () => {
    expect(refusal(() => serverOrigins('mesh://mesh.example/p'))).toContain('names a party')
    const nine = Array.from({ length: 9 }, (_, i) => `mesh://s${i}`)
    for (const servers of [[], nine]) {
      expect(() => serverOrigins(servers)).toThrow(expect.objectContaining({ reason: ErrorReason.CONFIGURATION }))
    }
  })
})

describe('resolveParty', () => {
  it('gives everybody who says the same name the same party, whatever its Unicode form', async () => {
    const composed = await resolveParty('caf\u00e9')
    const decomposed = await resolveParty('cafe\u0301')
    expect(toHex(decomposed.topic)).toBe(toHex(composed.topic))
    expect(composed.psk).toHaveLength(32)
  })

  it('takes a public key as capability: topic and secret follow from it', async () => {
    const { publicKey } = await generateSigningKey()
    const party = await resolveParty(publicKey)
    expect(party.publicKey).toEqual(publicKey)
    expect(party.psk).toHaveLength(32)
    expect(toHex(party.topic)).not.toBe(toHex(publicKey))
  })

  it('takes a bare topic as an open party, and a party as it is', async () => {
    const party = await resolveParty({ topic: BYTES })
    expect(party).toEqual(openParty(BYTES))
    expect(await resolveParty(party)).toBe(party)
  })

  it.each([
    ['an empty name', '', 'ADDRESS_INVALID'],
    ['a name of more than 256 bytes', 'é'.repeat(129), 'ADDRESS_INVALID'],
    ['a key that is no point', new Uint8Array(32).fill(0xff), 'KEY_INVALID'],
    ['a key of the wrong length', new Uint8Array(31), 'KEY_INVALID'],
    ['an all-zero topic', { topic: new Uint8Array(32) }, 'ADDRESS_INVALID'],
    ['a topic of the wrong length', { topic: new Uint8Array(20) }, 'ADDRESS_INVALID'],
  ])('refuses %s', async (_what, input, reason) => {
    await expect(resolveParty(input)).rejects.toMatchObject({ reasonName: reason })
  })

  it('takes a name of exactly 256 bytes', async () => {
    expect((await resolveParty('é'.repeat(128))).topic).toHaveLength(32)
  })

  it('does not take a peer id for a party key', async () => {
    const { publicKey } = await generateSigningKey()
    const byName = await resolveParty(formatPeerId(publicKey))
    expect(toHex(byName.topic)).not.toBe(toHex((await resolveParty(publicKey)).topic))
  })
})
