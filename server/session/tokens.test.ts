import { ErrorReason, MeshError, seededRandom, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../byte-key.ts'
import { sessionBytes } from '../testing/records.ts'
import { Tokens } from './tokens.ts'

const AUTHORITY = 'mesh.example'

function setUp(seed = 1) {
  const clock = new VirtualClock()
  const tokens = new Tokens(clock, seededRandom(seed))
  return { clock, tokens, token: tokens.issue(sessionBytes(7), AUTHORITY, clock.monotonicMs() + 1_000) }
}

function reasonOf(tokens: Tokens, token: string, authority = AUTHORITY): ErrorReason | undefined {
  try {
    tokens.verify(token, authority)
    return undefined
  } catch (error) {
    if (error instanceof MeshError) return error.reason
    throw error
  }
}

describe('a token', () => {
  test('names its session until it expires', async () => {
    const { tokens, token, clock } = setUp()
    expect(tokens.verify(token, AUTHORITY).sessionKey).toBe(byteKey(sessionBytes(7)))
    await clock.advance(999)
    expect(reasonOf(tokens, token)).toBeUndefined()
    await clock.advance(1)
    expect(reasonOf(tokens, token)).toBe(ErrorReason.TOKEN_EXPIRED)
  })

  test('is worth nothing at another server, nor after a restart', () => {
    expect(reasonOf(setUp(2).tokens, setUp(1).token)).toBe(ErrorReason.TOKEN_INVALID)
  })

  test('is bound to the host it was issued under', () => {
    const { tokens, token } = setUp()
    expect(reasonOf(tokens, token, 'evil.example')).toBe(ErrorReason.ORIGIN_MISMATCH)
  })

  test('with any bit flipped is not genuine: no session swapped, no expiry extended', () => {
    const { tokens, token } = setUp()
    const bytes = Buffer.from(token, 'base64url')
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(reasonOf(tokens, flipped.toString('base64url'))).toBe(ErrorReason.TOKEN_INVALID)
    }
  })

  test('in any other spelling of the same bytes is refused', () => {
    const { tokens, token } = setUp()
    const last = token.at(-1) as string
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const spare = alphabet[alphabet.indexOf(last) + 1] as string
    const padded = Buffer.from(token, 'base64url').toString('base64')
    for (const spelling of [token.slice(0, -1) + spare, `${token}=`, `${token}==`, padded, ` ${token}`, '', 'x']) {
      expect(reasonOf(tokens, spelling)).toBe(ErrorReason.TOKEN_INVALID)
    }
  })
})
