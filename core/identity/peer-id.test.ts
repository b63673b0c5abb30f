import { beforeAll, describe, expect, it } from 'vitest'
import { toHex } from '../bytes.ts'
import { MeshError } from '../error.ts'
import { seededRandom } from '../random.ts'
import { expectRefusal } from '../testing/refusal.fixture.ts'
import { generateSigningKey, signingKeyFromSeed } from './ed25519.ts'
import { formatPeerId, parsePeerId } from './peer-id.ts'

const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'

/** What the parser says about a text that it must refuse. */
function complaint(text: string): string {
  try {
    parsePeerId(text)
  } catch (error) {
    if (error instanceof MeshError && error.reasonName === 'PEER_ID_INVALID') return error.message
    throw error
  }
  return 'accepted'
}

function replaceAt(text: string, index: number, character: string): string {
  return text.slice(0, index) + character + text.slice(index + 1)
}

describe('peer ids', () => {
  let key: Uint8Array
  let id: string

  beforeAll(async () => {
    key = (await signingKeyFromSeed(new Uint8Array(32).fill(7))).publicKey
    id = formatPeerId(key)
  })

  it('survive a round trip when the key is ordinary', async () => {
    expect(id).toMatch(/^mesh1[02-9ac-hj-np-z]{58}$/)
    expect(toHex(parsePeerId(id))).toBe(toHex(key))
    for (let i = 0; i < 20; i++) {
      const { publicKey } = await generateSigningKey()
      expect(parsePeerId(formatPeerId(publicKey))).toEqual(publicKey)
    }
  })

  it('report the mistyped character when one is wrong, at each position and with each other character', () => {
    for (let index = 5; index < id.length; index++) {
      for (const character of ALPHABET) {
        if (character === id[index]) continue
        const said = complaint(replaceAt(id, index, character))
        expect(said).toContain(`checksum does not match: character ${index + 1} is probably mistyped`)
      }
    }
  })

  it('report a character outside the alphabet with its position', () => {
    for (let index = 5; index < id.length; index++) {
      for (const character of 'bio1B-é ') {
        expect(complaint(replaceAt(id, index, character))).toContain(`Character ${index + 1} ("${character}")`)
      }
    }
  })

  it('report the prefix when it is mistyped', () => {
    for (let index = 0; index < 5; index++) {
      expect(complaint(replaceAt(id, index, 'x'))).toContain('starts with "mesh1"')
    }
    expect(complaint('')).toContain('starts with "mesh1"')
    expect(complaint(` ${id}`)).toContain('starts with "mesh1"')
    expect(complaint(id.toUpperCase())).toContain('starts with "mesh1"')
  })

  it('report the length when characters are missing or added', () => {
    expect(complaint(id.slice(0, -1))).toContain('63 characters; this has 62')
    expect(complaint(`${id}q`)).toContain('63 characters; this has 64')
    expect(complaint('mesh1')).toContain('this has 5')
    expect(complaint(`mesh1${'q'.repeat(100_000)}`)).toContain('this has 100005')
  })

  it('are refused when two neighbours are swapped', () => {
    for (let index = 5; index + 1 < id.length; index++) {
      if (id[index] === id[index + 1]) continue
      const swapped = id.slice(0, index) + id[index + 1] + id[index] + id.slice(index + 2)
      expect(complaint(swapped)).toContain('more than one character is wrong')
    }
  })

  it('are refused when up to four characters are wrong, wherever', () => {
    const random = seededRandom(11)
    for (let round = 0; round < 2_000; round++) {
      let text = id
      const errors = 1 + Math.floor(random.uniform() * 4)
      for (let i = 0; i < errors; i++) {
        const index = 5 + Math.floor(random.uniform() * 58)
        text = replaceAt(text, index, ALPHABET[Math.floor(random.uniform() * 32)] as string)
      }
      if (text !== id) expect(complaint(text)).not.toBe('accepted')
    }
  })

  it('are refused when the key inside is one that no peer can have', () => {
    expect(complaint(formatPeerId(new Uint8Array(32)))).toContain('small order')
    expect(complaint(formatPeerId(new Uint8Array(32).fill(255)))).toContain('non-canonical')
  })

  it.each([0, 31, 33])('are not made from %i bytes', async (length) => {
    await expectRefusal(() => formatPeerId(new Uint8Array(length)), 'PEER_ID_INVALID')
  })
})
