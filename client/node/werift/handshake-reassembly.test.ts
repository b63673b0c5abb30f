import { describe, expect, test } from 'vitest'
import { CompleteHandshake, HandshakeReassembly } from './handshake-reassembly.ts'

/** Cuts a message into fragments of at most `size` bytes. */
function fragments(type: number, sequence: number, body: Buffer, size: number): Buffer[] {
  const cut: Buffer[] = []
  for (let at = 0; at < Math.max(1, body.length); at += size) {
    const part = body.subarray(at, at + size)
    const header = Buffer.alloc(12)
    header[0] = type
    header.writeUIntBE(body.length, 1, 3)
    header.writeUInt16BE(sequence, 4)
    header.writeUIntBE(at, 6, 3)
    header.writeUIntBE(part.length, 9, 3)
    cut.push(Buffer.concat([header, part]))
  }
  return cut
}

const BODY = Buffer.from(Array.from({ length: 100 }, (_, index) => index))

describe('A handshake reassembly', () => {
  test('joins fragments in any order, repeated and overlapping', () => {
    const reassembly = new HandshakeReassembly()
    for (const fragment of [...fragments(11, 0, BODY, 30).reverse(), ...fragments(11, 0, BODY, 7)]) {
      reassembly.push(fragment, false)
    }
    const taken = reassembly.take()
    expect(taken?.message.fragment).toEqual(BODY)
    expect(taken?.message.serialize()).toEqual(fragments(11, 0, BODY, 100)[0])
    expect(reassembly.take()).toBeUndefined()
  })

  test('delivers messages in the order of their numbers, each once', () => {
    const reassembly = new HandshakeReassembly()
    for (const sequence of [2, 0, 1, 0]) reassembly.push(fragments(sequence + 1, sequence, BODY, 100)[0]!, false)
    expect([1, 2, 3].map(() => reassembly.take()?.message.msg_type)).toEqual([1, 2, 3])
    expect(reassembly.push(fragments(1, 0, BODY, 100)[0]!, false)).toBe(1)
    expect(reassembly.take()).toBeUndefined()
  })

  test('reads several fragments of one record, and an empty message', () => {
    const reassembly = new HandshakeReassembly()
    const empty = fragments(14, 1, Buffer.alloc(0), 10)
    reassembly.push(Buffer.concat([...fragments(12, 0, BODY, 60), ...empty]), false)
    expect(reassembly.take()?.message.length).toBe(100)
    expect(reassembly.take()?.message.length).toBe(0)
  })

  test('ignores numbers outside its window, and impossible lengths', () => {
    const reassembly = new HandshakeReassembly()
    reassembly.push(fragments(1, 8, BODY, 100)[0]!, false)
    const huge = Buffer.from(fragments(1, 0, BODY, 100)[0]!)
    huge.writeUIntBE(0xff_ffff, 1, 3)
    reassembly.push(huge, false)
    const beyond = Buffer.from(fragments(1, 0, BODY, 100)[0]!)
    beyond.writeUIntBE(50, 6, 3)
    reassembly.push(beyond, false)
    expect(reassembly.take()).toBeUndefined()
    reassembly.skipTo(8)
    expect(reassembly.take()).toBeUndefined()
  })

  test('keeps encrypted and plain fragments apart', () => {
    const reassembly = new HandshakeReassembly()
    const [head, tail] = fragments(20, 0, BODY, 50)
    reassembly.push(head!, false)
    reassembly.push(tail!, true)
    expect(reassembly.take()).toBeUndefined()
    reassembly.push(head!, true)
    expect(reassembly.take()?.encrypted).toBe(true)
  })

  test('goes on when a forged fragment contradicts the right ones', () => {
    const reassembly = new HandshakeReassembly()
    reassembly.push(fragments(1, 0, Buffer.alloc(40), 10)[0]!, false)
    for (const fragment of fragments(1, 0, BODY, 50)) reassembly.push(fragment, false)
    expect(reassembly.take()?.message.fragment).toEqual(BODY)
  })

  test('hands out whole messages in no order while no order is known', () => {
    const reassembly = new HandshakeReassembly()
    reassembly.push(new CompleteHandshake(1, 1, BODY).serialize(), false)
    expect(reassembly.takeAny()?.message.message_seq).toBe(1)
    expect(reassembly.takeAny()).toBeUndefined()
    expect(reassembly.next).toBe(0)
  })
})
