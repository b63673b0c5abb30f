import { describe, expect, test } from 'vitest'
import { ReplayBuffer, type ReplayBufferOptions } from './replay-buffer.ts'

const OVERHEAD = 128
const body = (bytes: number): Uint8Array => new Uint8Array(bytes)
const buffer = (options: Partial<ReplayBufferOptions> = {}): ReplayBuffer =>
  new ReplayBuffer({ maxUnreadBytes: 1e6, maxReadEvents: 4, maxReadBytes: 1e6, maxReadAgeMs: 60_000, ...options })

function cursorsAfter(replay: ReplayBuffer, cursor: number): number[] {
  const cursors: number[] = []
  for (let next = replay.after(cursor); next !== undefined; next = replay.after(next.cursor)) cursors.push(next.cursor)
  return cursors
}

describe('the replay buffer', () => {
  test('replays what came after a cursor, in order', () => {
    const replay = buffer()
    for (let i = 0; i < 5; i++) replay.append(body(1), 0)
    expect(cursorsAfter(replay, 0)).toEqual([1, 2, 3, 4, 5])
    expect(cursorsAfter(replay, 3)).toEqual([4, 5])
    expect(cursorsAfter(replay, 5)).toEqual([])
    expect(replay.lostAfter(0)).toBeUndefined()
  })

  test('tells what nobody has read, and when it came', () => {
    const replay = buffer()
    for (let i = 1; i <= 4; i++) replay.append(body(i), 10 * i)
    expect(replay.unread().map(({ cursor }) => cursor)).toEqual([1, 2, 3, 4])
    replay.markRead(2, 50)
    expect(replay.unread()).toMatchObject([
      { cursor: 3, atMs: 30 },
      { cursor: 4, atMs: 40 },
    ])
    replay.markRead(4, 50)
    expect(replay.unread()).toEqual([])
  })

  test('keeps a bounded number of events that were read, and names what is lost', () => {
    const replay = buffer({ maxReadEvents: 4 })
    for (let i = 0; i < 10; i++) replay.append(body(1), 0)
    replay.markRead(10, 0)
    expect(cursorsAfter(replay, 6)).toEqual([7, 8, 9, 10])
    expect(replay.lostAfter(6)).toBeUndefined()
    expect(replay.lostAfter(2)).toEqual({ fromCursor: 3, toCursor: 6 })
    expect(replay.after(2)).toBeUndefined()
  })

  test('keeps a bounded number of bytes that were read', () => {
    const replay = buffer({ maxReadEvents: 100, maxReadBytes: 2 * (100 + OVERHEAD) })
    for (let i = 0; i < 5; i++) replay.append(body(100), 0)
    replay.markRead(5, 0)
    expect(cursorsAfter(replay, 3)).toEqual([4, 5])
    expect(replay.bytes).toBe(2 * (100 + OVERHEAD))
  })

  test('forgets what was read when it is old', () => {
    const replay = buffer({ maxReadAgeMs: 1_000 })
    replay.append(body(1), 0)
    replay.append(body(1), 900)
    replay.markRead(2, 900)
    replay.append(body(1), 1_500)
    expect(replay.lostAfter(0)).toEqual({ fromCursor: 1, toCursor: 1 })
    expect(cursorsAfter(replay, 1)).toEqual([2, 3])
  })

  test('forgets what is old when a stream has nothing new to read', () => {
    const replay = buffer({ maxReadAgeMs: 1_000 })
    replay.append(body(1), 0)
    replay.markRead(1, 0)
    replay.markRead(1, 1_000)
    expect(replay.bytes).toBeGreaterThan(0)
    replay.markRead(1, 1_001)
    expect(replay.bytes).toBe(0)
  })

  test('keeps what is unread, however many and old, until its bytes are too many', () => {
    const replay = buffer({ maxUnreadBytes: 10 * (100 + OVERHEAD), maxReadEvents: 1, maxReadAgeMs: 1 })
    for (let i = 0; i < 10; i++) replay.append(body(100), i * 1_000)
    expect(replay.fits(100)).toBe(false)
    expect(replay.lostAfter(0)).toBeUndefined()
    replay.append(body(100), 20_000)
    expect(replay.lostAfter(0)).toEqual({ fromCursor: 1, toCursor: 1 })
    expect(replay.bytes).toBe(10 * (100 + OVERHEAD))
    replay.markRead(11, 20_000)
    expect(replay.fits(100)).toBe(true)
  })

  test('forgets what was acknowledged, and only that', () => {
    const replay = buffer()
    for (let i = 0; i < 6; i++) replay.append(body(10), 0)
    replay.acknowledge(4, 0)
    expect(replay.bytes).toBe(2 * (10 + OVERHEAD))
    expect(cursorsAfter(replay, 4)).toEqual([5, 6])
    replay.acknowledge(1_000, 0)
    expect(replay.bytes).toBe(0)
    expect(replay.append(body(1), 0)).toBe(7)
  })

  test('counts the bytes behind any position', () => {
    const replay = buffer()
    for (const bytes of [10, 20, 30]) replay.append(body(bytes), 0)
    expect(replay.bytesAfter(0)).toBe(60 + 3 * OVERHEAD)
    expect(replay.bytesAfter(2)).toBe(30 + OVERHEAD)
    expect(replay.bytesAfter(3)).toBe(0)
    replay.acknowledge(1, 0)
    expect(replay.bytesAfter(0)).toBe(50 + 2 * OVERHEAD)
  })

  test('stays flat over a long life', () => {
    const replay = buffer({ maxReadEvents: 16 })
    for (let i = 1; i <= 10_000; i++) {
      replay.append(body(50), i)
      replay.markRead(i, i)
      expect(replay.bytes).toBeLessThanOrEqual(17 * (50 + OVERHEAD))
    }
    expect(cursorsAfter(replay, 9_990)).toHaveLength(10)
  })
})
