import { ErrorReason, generateSigningKey, toHex } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../../limits/server-limits.ts'
import { checkFederation, type FederationOptions } from './federation-options.ts'

const [own, a, b] = (await Promise.all([1, 2, 3].map(generateSigningKey))).map(({ publicKey }) => publicKey) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const url = 'http://b.example:4600'

const check = (options: Partial<FederationOptions>, maxServers = 64) =>
  checkFederation({ realm: 'test', servers: [], ...options }, resolveLimits({ federationMaxServers: maxServers }), own)

describe('the options of federation', () => {
  test('pass as they are when they can work', () => {
    const options = { realm: 'ä'.repeat(32), servers: [{ key: a, url }], allowed: [b, a] }
    expect(check(options)).toEqual(options)
  })

  test.each<[string, Partial<FederationOptions>]>([
    ['the realm has 1 to 64 bytes of UTF-8, not 0', { realm: '' }],
    ['the realm has 1 to 64 bytes of UTF-8, not 66', { realm: 'ä'.repeat(33) }],
    [
      `server ${toHex(a)} is named twice`,
      {
        servers: [
          { key: a, url },
          { key: a, url: 'http://c.example:1' },
        ],
      },
    ],
    [`${toHex(own)} is this server's own key`, { servers: [{ key: own, url }] }],
    [`${toHex(own)} is this server's own key`, { allowed: [own] }],
    ['"0102" cannot be the key of a server', { allowed: [Uint8Array.of(1, 2)] }],
    ['"b.example:4600" is not where a server is called', { servers: [{ key: a, url: 'b.example:4600' }] }],
    ['is not where a server is called', { servers: [{ key: a, url: `${url}/path` }] }],
    ['is not where a server is called', { servers: [{ key: a, url: 'mesh+grpc://b.example:4600' }] }],
  ])('are refused as wrong configuration: %s', (message, options) => {
    expect(() => check(options)).toThrow(
      expect.objectContaining({ reason: ErrorReason.CONFIGURATION, message: expect.stringContaining(message) }),
    )
  })

  test('name no more servers than the limit allows, dialled and allowed together', () => {
    const options = { servers: [{ key: a, url }], allowed: [b] }
    expect(check(options, 2)).toEqual({ realm: 'test', ...options })
    expect(() => check(options, 1)).toThrow('2 servers are named, and federationMaxServers is 1')
  })
})
