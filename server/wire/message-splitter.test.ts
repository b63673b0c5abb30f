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

  test('puts messages together in what was given back, and mixes none of them up', () => {
    const random = seededRandom(8)
    const messages = Array.from({ length: 300 }, () => random.bytes(Math.floor(random.uniform() * 3_000)))
    const stream = Buffer.concat(messages.map((message) => framed(0, message)))
    const splitter = new MessageSplitter()
    const memories = new Set<ArrayBufferLike>()
    let found = 0
    for (let at = 0; at < stream.length; at += 50) {
      // Chunks of their own, as a transport makes them.
      splitter.push(new Uint8Array(stream.subarray(at, at + 50)))
      for (let next = splitter.next(); next !== undefined; next = splitter.next()) {
        if (next.bytes.length > 50) memories.add(next.bytes.buffer)
        expect(Buffer.compare(next.bytes, messages[found++] as Uint8Array)).toBe(0)
        if (random.uniform() < 0.9) splitter.recycle(next.bytes)
      }
    }
    expect(found).toBe(300)
    expect(memories.size).toBeLessThan(150)
  })

  test('writes over nothing that was not given back', () => {
    const splitter = new MessageSplitter()
    const message = new Uint8Array(100).fill(7)
    const taken = [1, 2].map(() => {
      const bytes = framed(0, message)
      splitter.push(bytes.subarray(0, 60))
      splitter.push(bytes.subarray(60))
      return splitter.next()?.bytes as Uint8Array
    })
    splitter.recycle(taken[0] as Uint8Array)
    const other = framed(0, new Uint8Array(100).fill(8))
    splitter.push(other.subarray(0, 60))
    splitter.push(other.subarray(60))
    splitter.next()
    expect(taken[1]).toEqual(Buffer.from(message))
  })

  test('says how long a message will be before it is there', () => {
    const splitter = new MessageSplitter()
    splitter.push(Uint8Array.of(0, 0xff, 0xff))
    expect(splitter.nextBytes).toBeUndefined()
    splitter.push(Uint8Array.of(0xff, 0xfe, 1))
    expect([splitter.nextBytes, splitter.next(), splitter.pendingBytes]).toEqual([0xffff_fffe, undefined, 6])
  })
})
