import { describe, expect, test } from 'vitest'
import { clip, makeStyle, printable, printableLines, shortPeerId, wrap } from './style.ts'

describe('colours', () => {
  test('are used on a terminal', () => {
    expect(makeStyle(true, {}).bad('no')).toBe('\u001b[31mno\u001b[39m')
  })

  test.each([
    ['not a terminal', false, {}],
    ['NO_COLOR', true, { NO_COLOR: '1' }],
    ['a dumb terminal', true, { TERM: 'dumb' }],
  ])('are left out for %s', (_, isTerminal, env) => {
    const style = makeStyle(isTerminal, env)
    expect([style.bad('no'), style.peer('id', 'seed'), style.bold('b')]).toEqual(['no', 'id', 'b'])
  })

  test('an empty NO_COLOR asks for nothing', () => {
    expect(makeStyle(true, { NO_COLOR: '' }).colour).toBe(true)
  })

  test('a peer keeps its colour', () => {
    const style = makeStyle(true, {})
    expect(style.peer('x', 'mesh1a')).toBe(style.peer('x', 'mesh1a'))
  })
})

describe('text of others', () => {
  test.each([
    ['an escape sequence', 'a\u001b[2Jb', 'a\ufffd[2Jb'],
    ['a carriage return', 'real\rfake', 'real\ufffdfake'],
    ['eight-bit controls', 'a\u009b31mb', 'a\ufffd31mb'],
    ['reordering marks', 'exe.\u202egpj', 'exe.\ufffdgpj'],
    ['a lone surrogate', 'a\ud800b', 'a\ufffdb'],
    ['a tab', 'a\tb', 'a b'],
    ['letters of all kinds', 'Grüße, 你好 👋🏽', 'Grüße, 你好 👋🏽'],
  ])('is shown with %s made harmless', (_, text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  test('keeps its lines, indented so that none looks like another message', () => {
    expect(printableLines('one\ntwo\r\nthree\u0007', '    ')).toBe('one\n    two\n    three\ufffd')
  })
})

test('shortPeerId keeps both ends of an id', () => {
  expect(shortPeerId(`mesh1qq7x9${'z'.repeat(49)}a4fj`)).toBe('mesh1qq7x9…a4fj')
})

test('wrap breaks at blanks and leaves long words whole', () => {
  expect(wrap('one two three incomprehensible', 8)).toBe('one two\nthree\nincomprehensible')
})

test('a line is clipped by what it shows, and its colours end with it', () => {
  const { good } = makeStyle(true, {})
  expect(clip(good('abc'), 2)).toBe('\u001b[32mab\u001b[39m')
  expect(clip(`x${good('–y')}z`, 3)).toBe('x\u001b[32m–y\u001b[39m')
  expect(clip('abc', 3)).toBe('abc')
})
