import { ErrorReason } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { DEFAULT_LINK_LIMITS, INITIAL_CREDIT_BYTES, type LinkLimits } from '../link-limits.ts'
import { Inbox } from './inbox.ts'

function inboxOf(kind: ChannelKind, limits: Partial<LinkLimits> = {}, budget = { bytes: 0 }): Inbox {
  return new Inbox(kind, { ...DEFAULT_LINK_LIMITS, ...limits }, budget)
}

/** Sends a message as a peer would, waiting for credit as it must. Returns false when it gets stuck. */
function sendMessage(inbox: Inbox, length: number, sent: { bytes: number; credit: number }): boolean {
  for (let left = length; left > 0; ) {
    const credit = inbox.creditDue()
    if (credit !== undefined) {
      inbox.creditTold(credit)
      sent.credit = credit
    }
    const size = Math.min(left, 16_000, sent.credit - sent.bytes)
    if (size === 0) return false
    left -= size
    sent.bytes += size
    inbox.receive(new Uint8Array(size), left === 0)
  }
  return true
}

const FRAME_INVALID = expect.objectContaining({ reason: ErrorReason.FRAME_INVALID })

describe('Inbox', () => {
  test('puts the pieces of a message together', () => {
    const inbox = inboxOf(ChannelKind.MESSAGES)
    expect(inbox.receive(Uint8Array.of(1, 2), false)).toBe(false)
    expect(inbox.receive(Uint8Array.of(3), true)).toBe(true)
    inbox.receive(new Uint8Array(), true)
    expect([inbox.take(), inbox.take(), inbox.take()]).toEqual([Uint8Array.of(1, 2, 3), new Uint8Array(), undefined])
  })

  test('gives credit only as the reader takes', () => {
    const inbox = inboxOf(ChannelKind.BYTES)
    for (let left = INITIAL_CREDIT_BYTES; left > 0; left -= 16_000)
      inbox.receive(new Uint8Array(Math.min(left, 16_000)), false)
    expect(inbox.creditDue()).toBeUndefined()
    for (let taken = 0; taken < 5; taken++) inbox.take()
    expect(inbox.creditDue()).toBe(INITIAL_CREDIT_BYTES + 5 * 16_000)
  })

  test('refuses one byte more than the credit', () => {
    const inbox = inboxOf(ChannelKind.BYTES)
    for (let i = 0; i < 16; i++) inbox.receive(new Uint8Array(INITIAL_CREDIT_BYTES / 16), false)
    expect(() => inbox.receive(Uint8Array.of(1), false)).toThrow(FRAME_INVALID)
  })

  test('takes a message of 16 MiB though the window is smaller', () => {
    const inbox = inboxOf(ChannelKind.MESSAGES)
    const sent = { bytes: 0, credit: INITIAL_CREDIT_BYTES }
    expect(sendMessage(inbox, DEFAULT_LINK_LIMITS.maxMessageBytes, sent)).toBe(true)
    expect(inbox.take()?.length).toBe(DEFAULT_LINK_LIMITS.maxMessageBytes)
  })

  test('holds one long message and a window at most when nobody reads', () => {
    const budget = { bytes: 0 }
    const inbox = inboxOf(ChannelKind.MESSAGES, {}, budget)
    const sent = { bytes: 0, credit: INITIAL_CREDIT_BYTES }
    expect(sendMessage(inbox, 5_000_000, sent)).toBe(true)
    expect(sendMessage(inbox, 5_000_000, sent)).toBe(false)
    expect(sent.bytes).toBeLessThanOrEqual(5_000_000 + DEFAULT_LINK_LIMITS.maxChannelWindowBytes)
    // The reader takes the first: the second goes on.
    inbox.take()
    expect(inbox.creditDue()).toBeGreaterThan(sent.bytes)
  })

  test('widens the window while the reader keeps up, to its bound', () => {
    const inbox = inboxOf(ChannelKind.BYTES)
    let credit = INITIAL_CREDIT_BYTES
    let received = 0
    for (let i = 0; i < 1_000; i++) {
      inbox.receive(new Uint8Array(16_000), false)
      received += 16_000
      inbox.take()
      const due = inbox.creditDue()
      if (due === undefined) continue
      inbox.creditTold(due)
      expect(due).toBeGreaterThan(credit)
      credit = due
    }
    expect(credit - received).toBeLessThanOrEqual(DEFAULT_LINK_LIMITS.maxChannelWindowBytes)
    expect(credit - received).toBeGreaterThan(DEFAULT_LINK_LIMITS.maxChannelWindowBytes / 2)
  })

  test.each([
    [
      'data after the end',
      ChannelKind.BYTES,
      (inbox: Inbox) => {
        inbox.end()
        inbox.receive(Uint8Array.of(1), false)
      },
    ],
    [
      'a second end',
      ChannelKind.MESSAGES,
      (inbox: Inbox) => {
        inbox.end()
        inbox.end()
      },
    ],
    [
      'an end within a message',
      ChannelKind.MESSAGES,
      (inbox: Inbox) => {
        inbox.receive(Uint8Array.of(1), false)
        inbox.end()
      },
    ],
    [
      'an empty piece of a longer message',
      ChannelKind.MESSAGES,
      (inbox: Inbox) => {
        inbox.receive(Uint8Array.of(1), false)
        inbox.receive(new Uint8Array(), true)
      },
    ],
    [
      'an end of message among bytes',
      ChannelKind.BYTES,
      (inbox: Inbox) => {
        inbox.receive(Uint8Array.of(1), true)
      },
    ],
    [
      'a second message on a request',
      ChannelKind.REQUEST,
      (inbox: Inbox) => {
        inbox.receive(Uint8Array.of(1), true)
        inbox.receive(Uint8Array.of(2), true)
      },
    ],
  ])('refuses %s', (_, kind, violate) => {
    expect(() => violate(inboxOf(kind))).toThrow(FRAME_INVALID)
  })

  test('takes an end after the message of a request', () => {
    const inbox = inboxOf(ChannelKind.REQUEST)
    inbox.receive(Uint8Array.of(1), true)
    inbox.end()
    expect(inbox.ended).toBe(true)
  })

  test('refuses a message that grows beyond the bound as soon as it does', () => {
    const inbox = inboxOf(ChannelKind.MESSAGES, { maxMessageBytes: 20_000 })
    inbox.receive(new Uint8Array(16_000), false)
    expect(() => inbox.receive(new Uint8Array(16_000), false)).toThrow(
      expect.objectContaining({ reason: ErrorReason.MESSAGE_TOO_LARGE }),
    )
  })

  test('refuses long messages of many channels beyond the budget of the link', () => {
    const budget = { bytes: 0 }
    const limits = { maxReassemblyBytes: 40_000 }
    inboxOf(ChannelKind.MESSAGES, limits, budget).receive(new Uint8Array(16_000), false)
    const second = inboxOf(ChannelKind.MESSAGES, limits, budget)
    second.receive(new Uint8Array(16_000), false)
    expect(() => second.receive(new Uint8Array(16_000), false)).toThrow(
      expect.objectContaining({ reason: ErrorReason.LIMIT_EXCEEDED, limit: 'max_reassembly_bytes' }),
    )
  })

  test('gives the budget back when a message was read, or never will be', () => {
    const budget = { bytes: 0 }
    const read = inboxOf(ChannelKind.MESSAGES, {}, budget)
    sendMessage(read, 400_000, { bytes: 0, credit: INITIAL_CREDIT_BYTES })
    expect(budget.bytes).toBe(400_000)
    read.take()
    const closed = inboxOf(ChannelKind.MESSAGES, {}, budget)
    closed.receive(new Uint8Array(100), false)
    closed.close(true)
    expect(budget.bytes).toBe(0)
  })

  test('refuses a flood of empty messages that nobody reads', () => {
    const inbox = inboxOf(ChannelKind.MESSAGES, { maxUnreadMessages: 3 })
    for (let i = 0; i < 3; i++) inbox.receive(new Uint8Array(), true)
    expect(() => inbox.receive(new Uint8Array(), true)).toThrow(
      expect.objectContaining({ reason: ErrorReason.LIMIT_EXCEEDED, limit: 'max_unread_messages' }),
    )
  })

  test('keeps a small view without the packet around it', () => {
    const inbox = inboxOf(ChannelKind.MESSAGES)
    inbox.receive(new Uint8Array(16_384).subarray(100, 101), true)
    expect(inbox.take()?.buffer.byteLength).toBe(1)
  })
})
