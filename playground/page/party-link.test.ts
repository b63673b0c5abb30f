import { describe, expect, test } from 'vitest'
import { parsePartyText, partyProblem, partyTextOf, partyUrl } from './party-link.ts'

const KEY = 'ab'.repeat(32)
const page = (rest: string) => new URL(`http://localhost:4600/${rest}`)

describe('the party of an address', () => {
  test.each([
    ['#our-party', 'our-party'],
    ['#caf%C3%A9%20%26%20friends', 'café & friends'],
    [`#key/${KEY}`, `key/${KEY}`],
    ['?party=from-query', 'from-query'],
    ['?party=from-query#from-fragment', 'from-fragment'],
    ['#100%', '100%'],
    ['', 'lobby'],
    ['#%20', 'lobby'],
  ])('%s is %s', (rest, text) => {
    expect(partyTextOf(page(rest), 'lobby')).toBe(text)
  })

  test.each(['our-party', 'café & friends', '100%', 'a/b', 'x?y#z', `key/${KEY}`, `topic/${KEY}`])(
    '%s survives being shared',
    (text) => {
      expect(partyTextOf(new URL(partyUrl(page('?party=old#older'), text)), 'lobby')).toBe(text)
    },
  )
})

describe('a party somebody typed', () => {
  test('is a name, whatever characters it has', () => {
    expect(parsePartyText(' a/b?c#d ')).toEqual({ text: 'a/b?c#d', party: 'a/b?c#d' })
  })

  test('is a capability when it is a key', () => {
    expect(parsePartyText(`key/${KEY}`)).toEqual({ text: `key/${KEY}`, party: new Uint8Array(32).fill(0xab) })
  })

  test('is an open topic when it is one', () => {
    expect(parsePartyText(`topic/${KEY}`).party).toEqual({ topic: new Uint8Array(32).fill(0xab) })
  })

  test.each([
    ['nothing', '  ', /name/],
    ['half a key', 'key/abcd', /64/],
  ])('is refused with a reason when it is %s', (_, text, reason) => {
    expect(partyProblem(text)).toMatch(reason)
  })

  test('has no problem when it is fine', () => {
    expect(partyProblem('our-party')).toBeUndefined()
  })
})
