import { ErrorReason, fromHex } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { formatServerAddress, parseServerAddress, parseServerKey } from './server-address.ts'

/** RFC 8032, section 7.1, TEST 1. */
const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
const key = fromHex(KEY)

describe('the address of a server', () => {
  test.each([
    [`mesh+grpc://${KEY}@b.example:4600`, 'http://b.example:4600'],
    [`mesh+grpcs://${KEY}@b.example:4600`, 'https://b.example:4600'],
    [`mesh+grpc://${KEY}@127.0.0.1:4601`, 'http://127.0.0.1:4601'],
    [`mesh+grpc://${KEY}@[2001:db8::1]:4600`, 'http://[2001:db8::1]:4600'],
    [`mesh+grpcs://${KEY}@b.example:443`, 'https://b.example'],
    [`mesh+grpc://${KEY}@b.example:80`, 'http://b.example'],
  ])('%s is called at %s, and is written the same way', (text, url) => {
    const address = parseServerAddress(text)
    expect(address).toEqual({ key, url })
    expect(formatServerAddress(address)).toBe(text)
  })

  test('is read with its key in capitals and a slash at its end', () => {
    const address = parseServerAddress(`mesh+grpc://${KEY.toUpperCase()}@B.example:4600/`)
    expect(address).toEqual({ key, url: 'http://b.example:4600' })
  })

  test.each([
    ['', 'is not of the form mesh+grpc://KEY@host:port'],
    [`mesh://${KEY}@b.example:4600`, 'is not of the form'],
    [`http://${KEY}@b.example:4600`, 'is not of the form'],
    [`mesh+grpc://${KEY}@b.example:4600/party`, 'is not of the form'],
    ['mesh+grpc://b.example:4600', 'names no server key'],
    [`mesh+grpc://${KEY}@b.example`, 'names no port'],
    [`mesh+grpc://${KEY}@[::1]`, 'names no port'],
    [`mesh+grpc://${KEY}@b.example:99999`, 'has no valid host and port'],
    [`mesh+grpc://${KEY}@b.example:0`, 'has no valid host and port'],
    [`mesh+grpc://${KEY}@b example:4600`, 'has no valid host and port'],
    [`mesh+grpc://${KEY}@::1:4600`, 'has no valid host and port'],
    ['mesh+grpc://@b.example:4600', 'has 64 hexadecimal digits'],
    [`mesh+grpc://${KEY.slice(1)}@b.example:4600`, 'has 64 hexadecimal digits'],
  ])('"%s" is refused: it %s', (text, why) => {
    expect(() => parseServerAddress(text)).toThrow(
      expect.objectContaining({ reason: ErrorReason.ADDRESS_INVALID, message: expect.stringContaining(why) }),
    )
  })

  test('with a key of small order is refused', () => {
    expect(() => parseServerKey(`01${'00'.repeat(31)}`)).toThrow(
      expect.objectContaining({ reason: ErrorReason.KEY_INVALID }),
    )
  })
})
