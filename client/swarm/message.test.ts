import { describe, expect, it } from 'vitest'
import { encodeMessage, MAX_MESSAGE_BYTES, receivedMessage } from './message.ts'
import type { Peer } from './peer.ts'

describe('encodeMessage', () => {
  const text = (data: Parameters<typeof encodeMessage>[0]) => new TextDecoder().decode(encodeMessage(data))

  it('takes text, bytes and JSON', () => {
    expect(text('héllo')).toBe('héllo')
    expect(text('')).toBe('')
    expect(text({ a: [1, null] })).toBe('{"a":[1,null]}')
    const bytes = Uint8Array.of(1, 2)
    expect(encodeMessage(bytes)).toBe(bytes)
  })

  it('takes buffers and views for the bytes they are, not for objects', () => {
    const { buffer } = Uint8Array.of(1, 2, 3, 4)
    expect(encodeMessage(buffer)).toEqual(Uint8Array.of(1, 2, 3, 4))
    expect(encodeMessage(new DataView(buffer, 1, 2))).toEqual(Uint8Array.of(2, 3))
  })

  it.each([
    ['a cycle', cycle],
    ['a bigint', () => ({ n: 1n })],
    ['a function', () => () => 1],
  ])('refuses %s', (_what, data) => {
    expect(() => encodeMessage(data())).toThrow(expect.objectContaining({ reasonName: 'INVALID_ARGUMENT' }))
  })

  it('takes 16 MiB and no more', () => {
    expect(encodeMessage(new Uint8Array(MAX_MESSAGE_BYTES))).toHaveLength(MAX_MESSAGE_BYTES)
    expect(() => encodeMessage(new Uint8Array(MAX_MESSAGE_BYTES + 1))).toThrow(
      expect.objectContaining({ reasonName: 'MESSAGE_TOO_LARGE', value: BigInt(MAX_MESSAGE_BYTES + 1) }),
    )
  })
})

describe('receivedMessage', () => {
  const received = (bytes: Uint8Array) => receivedMessage({} as Peer, bytes)

  it('reads text and JSON', () => {
    expect(received(encodeMessage('héllo')).text()).toBe('héllo')
    expect(received(encodeMessage({ a: 1 })).json()).toEqual({ a: 1 })
  })

  it('throws for what is neither', () => {
    expect(() => received(Uint8Array.of(0xff)).text()).toThrow(
      expect.objectContaining({ reasonName: 'INVALID_ARGUMENT' }),
    )
    expect(() => received(encodeMessage('no json')).json()).toThrow(SyntaxError)
  })
})

function cycle(): object {
  const object: { self?: object } = {}
  object.self = object
  return object
}
