import { ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { DEFAULT_LINK_LIMITS, type LinkLimits } from '../link-limits.ts'
import { Outbox } from './outbox.ts'

function outboxOf(kind: ChannelKind, credit = 1_000_000, limits: Partial<LinkLimits> = {}): Outbox {
  return new Outbox(2, kind, credit, { ...DEFAULT_LINK_LIMITS, ...limits })
}

/** Frames until none is ready: data as its size, `.` after the last piece of a message; `end`. */
function drain(outbox: Outbox, maxBytes = 16_400): string[] {
  const frames: string[] = []
  while (outbox.ready) {
    const body = outbox.nextFrame(maxBytes)?.frame.body
    if (body?.case === 'data') frames.push(`${body.value.data.length}${body.value.endOfMessage ? '.' : ''}`)
    else frames.push(body?.case ?? 'does not fit')
    if (body === undefined) break
  }
  return frames
}

const bytes = (length: number): Uint8Array => new Uint8Array(length)

describe('Outbox', () => {
  test('cuts messages at frames and keeps their boundaries', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES)
    for (const length of [40_000, 0, 5, 16_000]) outbox.push(bytes(length))
    expect(drain(outbox)).toEqual(['16000', '16000', '8000.', '0.', '5.', '16000.'])
    expect([outbox.queuedBytes, outbox.idle]).toEqual([0, true])
  })

  test('does not copy a message', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES)
    const message = bytes(20_000)
    outbox.push(message)
    const body = outbox.nextFrame(16_400)?.frame.body
    expect(body?.case === 'data' && body.value.data.buffer === message.buffer).toBe(true)
  })

  test('gathers small writes into full frames on a channel of bytes', () => {
    const outbox = outboxOf(ChannelKind.BYTES)
    for (let i = 0; i < 100; i++) outbox.push(Uint8Array.of(...Array.from({ length: 200 }, () => i)))
    const body = outbox.nextFrame(16_400)?.frame.body
    const data = body?.case === 'data' ? body.value.data : bytes(0)
    expect([data.length, data[0], data[199], data[200], data[15_999]]).toEqual([16_000, 0, 0, 1, 79])
    expect(drain(outbox)).toEqual(['4000'])
  })

  test('stops where the credit ends and goes on when it rises', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES, 100)
    outbox.push(bytes(250))
    expect(drain(outbox)).toEqual(['100'])
    outbox.grant(220)
    expect(drain(outbox)).toEqual(['120'])
    outbox.grant(1_000)
    expect(drain(outbox)).toEqual(['30.'])
  })

  test('sends an empty message and the end without credit', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES, 0)
    outbox.push(bytes(0))
    outbox.end()
    expect(drain(outbox)).toEqual(['0.', 'end'])
    expect(outbox.finished).toBe(true)
  })

  test('does not split a message for the last bytes of a packet', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES)
    outbox.push(bytes(10_000))
    expect(outbox.nextFrame(1_000)).toBeUndefined()
    expect(drain(outbox, 9_000)).toHaveLength(2)
  })

  test('ends a request with its message, without a frame of its own', () => {
    const outbox = outboxOf(ChannelKind.REQUEST)
    outbox.push(bytes(3))
    expect(outbox.ended).toBe(true)
    expect(drain(outbox)).toEqual(['3.'])
    expect([outbox.finished, outbox.idle]).toEqual([true, true])
  })

  test('takes back a message of which nothing has left, and no other', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES)
    const first = outbox.push(bytes(20_000))
    const second = outbox.push(bytes(7))
    outbox.push(bytes(9))
    outbox.nextFrame(16_400)
    expect([first.withdraw(), second.withdraw()]).toEqual([false, true])
    expect(drain(outbox)).toEqual(['4000.', '9.'])
  })

  test.each([
    ['bytes', { maxQueuedBytes: 100 }, 'max_queued_bytes'],
    ['messages', { maxQueuedMessages: 2 }, 'max_queued_messages'],
  ])('refuses a message when the queue is full of %s', (_, limits, limit) => {
    const outbox = outboxOf(ChannelKind.MESSAGES, 0, limits)
    outbox.push(bytes(50))
    outbox.push(bytes(50))
    expect(() => outbox.push(bytes(1))).toThrow(expect.objectContaining({ reason: ErrorReason.LIMIT_EXCEEDED, limit }))
  })

  test('refuses credit that falls', () => {
    const outbox = outboxOf(ChannelKind.BYTES, 500)
    outbox.grant(500)
    expect(() => outbox.grant(499)).toThrow(expect.objectContaining({ reason: ErrorReason.FRAME_INVALID }))
  })

  test('calls back when there is room for more, at once when there is now', () => {
    const outbox = outboxOf(ChannelKind.BYTES, 1_000_000, { maxStreamQueueBytes: 20_000 })
    let called = 0
    outbox.push(bytes(40_000))
    outbox.whenRoom(() => called++)
    outbox.nextFrame(16_400)
    expect(called).toBe(0)
    outbox.nextFrame(16_400)
    expect(called).toBe(1)
    outbox.whenRoom(() => called++)
    expect(called).toBe(2)
  })

  test('tells everybody who waits for what has not left when it fails', () => {
    const outbox = outboxOf(ChannelKind.MESSAGES, 0)
    const notes: string[] = []
    const settlement = { acknowledged: () => notes.push('sent'), failed: (e: MeshError) => notes.push(e.reasonName) }
    outbox.push(bytes(5), settlement)
    outbox.end(settlement)
    outbox.whenRoom(() => notes.push('room'))
    outbox.fail(new MeshError(ErrorReason.CHANNEL_CLOSED, 'closed'))
    expect(notes).toEqual(['room', 'CHANNEL_CLOSED', 'CHANNEL_CLOSED'])
    expect([outbox.ready, outbox.queuedBytes]).toEqual([false, 0])
  })
})
