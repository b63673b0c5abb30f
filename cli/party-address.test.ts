import { describe, expect, test } from 'vitest'
import { UsageError } from './failure.ts'
import { parsePartyAddress } from './party-address.ts'

const nothing = { server: undefined, environmentServer: undefined }
const KEY = 'ab'.repeat(32)

describe('a party address', () => {
  test.each([
    ['our-party', nothing, 'http://localhost:4600', 'our-party'],
    ['our party/50%', nothing, 'http://localhost:4600', 'our party/50%'],
    ['our-party', { ...nothing, environmentServer: 'mesh://mesh.example' }, 'https://mesh.example', 'our-party'],
    ['our-party', { ...nothing, environmentServer: '' }, 'http://localhost:4600', 'our-party'],
    ['our-party', { server: 'localhost:81/', environmentServer: 'mesh://x' }, 'http://localhost:81', 'our-party'],
    ['mesh://mesh.example/a', { ...nothing, environmentServer: 'mesh://x' }, 'https://mesh.example', 'a'],
    ['http://127.0.0.1:9/a', nothing, 'http://127.0.0.1:9', 'a'],
    ['a', { ...nothing, server: 'mesh://x,localhost' }, 'https://x, http://localhost:4600', 'a'],
  ])('%s with %j is at %s', (text, options, origin, party) => {
    expect(parsePartyAddress(text, options)).toMatchObject({ origin, party, label: party })
  })

  test('may be a key or a topic', () => {
    expect(parsePartyAddress(`key/${KEY}`, nothing).party).toEqual(new Uint8Array(32).fill(0xab))
    expect(parsePartyAddress(`topic/${KEY}`, nothing).party).toEqual({ topic: new Uint8Array(32).fill(0xab) })
  })

  test.each([
    ['mesh://localhost', nothing, /names a server but no party/],
    ['mesh://localhost/a', { ...nothing, server: 'mesh://localhost' }, /a server is named twice/],
    ['a', { ...nothing, server: 'mesh://localhost/b' }, /names a party where only a server is expected/],
  ])('%s with %j is refused', (text, options, message) => {
    expect(() => parsePartyAddress(text, options)).toThrow(UsageError)
    expect(() => parsePartyAddress(text, options)).toThrow(message)
  })

  test.each(['ftp://localhost/a', 'mesh://user@host/a', 'key/abc', 'mesh://localhost/a/b'])(
    '%s is refused with what is wrong about it',
    (text) => {
      expect(() => parsePartyAddress(text, nothing)).toThrow(/address/)
    },
  )
})
