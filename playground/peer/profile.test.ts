import { describe, expect, test } from 'vitest'
import { nicknameOf } from './nickname.ts'
import { cleanName, decodeProfile, displayName, encodeProfile, MAX_NAME_LENGTH } from './profile.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const key = Uint8Array.from({ length: 32 }, (_, index) => index)

describe('a profile', () => {
  test('comes back as it was encoded', () => {
    expect(decodeProfile(encodeProfile({ name: 'Ada', bot: true }))).toEqual({ name: 'Ada', bot: true })
    expect(decodeProfile(encodeProfile({ name: 'Ada' }))).toEqual({ name: 'Ada', bot: false })
  })

  test('without anything to say takes no bytes', () => {
    expect(encodeProfile({ name: '  ' })).toHaveLength(0)
    expect(decodeProfile(new Uint8Array(0))).toEqual({ name: undefined, bot: false })
  })

  test('fits into the state of a record whatever the name is', () => {
    expect(encodeProfile({ name: '\u{1F9A6}"\\'.repeat(400), bot: true }).length).toBeLessThanOrEqual(1_024)
  })

  test.each([
    ['no JSON', bytes('hello')],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['JSON that is no object', bytes('[1]')],
    ['null', bytes('null')],
    ['fields of other types', bytes('{"name":7,"bot":"yes"}')],
  ])('is empty when the state is %s', (_, state) => {
    expect(decodeProfile(state)).toEqual({ name: undefined, bot: false })
  })
})

describe('a name', () => {
  test('loses control characters, and characters that reorder or hide text', () => {
    expect(cleanName('a\u202Eb\u0007c\u200Bd\n\ne')).toBe('a b c d e')
  })

  test('is cut between characters, never inside one', () => {
    const name = cleanName('\u{1F9A6}'.repeat(MAX_NAME_LENGTH))
    expect(name).toBe('\u{1F9A6}'.repeat(MAX_NAME_LENGTH / 2))
  })

  test('of a peer that gives none is the nickname of its key', () => {
    expect(displayName({ key, state: new Uint8Array(0) })).toBe(nicknameOf(key).text)
    expect(displayName({ key, state: bytes('{"name":"Ada"}') })).toBe('Ada')
  })
})

test('a nickname is the same for the same key, and speaks of its own colour', () => {
  expect(nicknameOf(key)).toEqual(nicknameOf(Uint8Array.from(key)))
  const other = Uint8Array.from(key)
  other[0] = 1
  expect(nicknameOf(other).hue).not.toBe(nicknameOf(key).hue)
  expect(nicknameOf(other).text.split(' ')[1]).toBe(nicknameOf(key).text.split(' ')[1])
})
