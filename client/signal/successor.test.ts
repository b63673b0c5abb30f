import { describe, expect, it } from 'vitest'
import { successorOf } from './successor.ts'

const HERE = 'https://a.example'
const THERE = 'https://b.example'
const KEY = new Uint8Array(32).fill(1)
const OTHER_KEY = new Uint8Array(32).fill(2)
const NO_KEY = new Uint8Array(0)

function follow(
  successor: string,
  options: { key?: Uint8Array; pins?: Uint8Array[]; from?: string; origins?: string[] } = {},
) {
  const known = { origins: options.origins ?? [options.from ?? HERE], serverKeys: options.pins }
  return successorOf({ successor, successorKey: options.key ?? NO_KEY }, options.from ?? HERE, known)
}

describe('a successor', () => {
  it('is followed when the draining server says what key it has', () => {
    expect(follow(THERE, { key: KEY })).toEqual({ origin: THERE, serverKeys: [KEY] })
    expect(follow(`${THERE}/`, { key: KEY })?.origin).toBe(THERE)
  })

  it('is followed when the application has pinned keys, and is held to them', () => {
    expect(follow(THERE, { pins: [KEY, OTHER_KEY] })).toEqual({ origin: THERE, serverKeys: [KEY, OTHER_KEY] })
    expect(follow(THERE, { pins: [KEY, OTHER_KEY], key: KEY })).toEqual({ origin: THERE, serverKeys: [KEY] })
    expect(follow(THERE, { pins: [KEY], key: OTHER_KEY })).toBeUndefined()
  })

  it('is followed without a key when the application named it too', () => {
    expect(follow(THERE, { origins: [HERE, THERE] })).toEqual({ origin: THERE, serverKeys: undefined })
  })

  it.each([
    ['there is no key to hold it to', THERE, {}],
    ['its key is too short', THERE, { key: KEY.subarray(1) }],
    ['it gives TLS up', 'http://b.example', { key: KEY }],
    ['it is on the own machine, and the server before was not', 'https://localhost:8443', { key: KEY }],
    ['it is on the own machine in another spelling', 'https://[::1]:8443', { key: KEY }],
    ['it is the same server', HERE, { key: KEY }],
    ['none is named', '', { key: KEY }],
    ['it is no origin', 'https://b.example/path', { key: KEY }],
    ['it carries credentials', 'https://me:secret@b.example', { key: KEY }],
    ['it is of another scheme', 'ftp://b.example', { key: KEY }],
  ])('is not followed when %s', (_why, successor, options) => {
    expect(follow(successor, options)).toBeUndefined()
  })

  it('may be on the own machine when the server before was', () => {
    const found = follow('http://127.0.0.1:4601', { from: 'http://localhost:4600', key: KEY })
    expect(found?.origin).toBe('http://127.0.0.1:4601')
  })
})
