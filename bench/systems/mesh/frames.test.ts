import { expect, test } from 'vitest'
import { FrameReader, frame } from './frames.ts'

test('a frame reader finds the same messages however the bytes are cut', () => {
  const messages = ['', 'a', 'longer message']
  const bytes = Buffer.concat(messages.map((message) => frame(Buffer.from(message))))
  for (let size = 1; size <= bytes.length; size++) {
    const found: string[] = []
    const reader = new FrameReader((message) => found.push(message.toString()))
    for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
    expect(found).toEqual(messages)
  }
})

test('a frame reader tells a data frame from an end-of-stream frame by its flags', () => {
  const flags: number[] = []
  const reader = new FrameReader((_, flag) => flags.push(flag))
  reader.push(Buffer.concat([frame(Buffer.from('x')), Buffer.from([2, 0, 0, 0, 0])]))
  expect(flags).toEqual([0, 2])
})
