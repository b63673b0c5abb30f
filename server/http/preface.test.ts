import { expect, test } from 'vitest'
import { protocolOf } from './preface.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

test('the full preface is HTTP/2, whatever follows', () => {
  expect(protocolOf(bytes(PREFACE))).toBe('h2')
  expect(protocolOf(bytes(`${PREFACE}more`))).toBe('h2')
})

test('a part of the preface decides nothing', () => {
  for (let length = 0; length < PREFACE.length; length++) {
    expect(protocolOf(bytes(PREFACE.slice(0, length)))).toBeUndefined()
  }
})

test.each(['G', 'POST / HTTP/1.1\r\n', 'PR\r\n', 'PUT / HTTP/1.1', 'PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n', '\x16\x03\x01'])(
  '%j is left to HTTP/1.1',
  (start) => {
    expect(protocolOf(bytes(start))).toBe('h1')
  },
)
