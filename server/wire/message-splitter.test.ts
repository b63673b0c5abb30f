import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { MessageSplitter } from './message-splitter.ts'

function framed(flags: number, message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = flags
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

describe('a splitter', () => {
  test('gives back the messages that went in, wherever the stream was cut', () => {
    const random = seededRandom(7)
    const messages = Array.from({ length: 200 }, () => random.bytes(Math.floor(random.uniform() * 3_000)))
    const stream = Buffer.concat(messages.map((message, index) => framed(index % 256, message)))
    for (const largest of [1, 4, 5, 6, 700, 20_000]) {
      const splitter = new MessageSplitter()
      const found: { flags: number; bytes: Uint8Array }[] = []
      for (let at = 0; at < stream.length; ) {
        const step = 1 + Math.floor(random.uniform() * largest)
        splitter.push(stream.subarray(at, at + step))
        at += step
        for (let next = splitter.next(); next !== undefined; next = splitter.next()) found.push(next)
      }
      expect(splitter.pendingBytes).toBe(0)
      expect(found.map(({ flags }) => flags)).toEqual(messages.map((_, index) => index % 256))
      expect(found.every(({ bytes }, index) => Buffer.compare(bytes, messages[index] as Uint8Array) === 0)).toBe(true)
    }
  })

  test('says how long a message will be before it is there', () => {
    const splitter = new MessageSplitter()
    splitter.push(Uint8Array.of(0, 0xff, 0xff))
    expect(splitter.nextBytes).toBeUndefined()
    splitter.push(Uint8Array.of(0xff, 0xfe, 1))
    expect([splitter.nextBytes, splitter.next(), splitter.pendingBytes]).toEqual([0xffff_fffe, undefined, 6])
  })
})
