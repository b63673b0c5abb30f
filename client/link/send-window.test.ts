import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import { type AckRange, AckRangeSchema, FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import type { Outgoing } from './outgoing.ts'
import { SendWindow } from './send-window.ts'

function outgoing(note?: (what: string) => void): Outgoing {
  return {
    frame: create(FrameSchema),
    bytes: 100,
    settlement: note && { acknowledged: () => note('acknowledged'), failed: (error) => note(error.reasonName) },
  }
}

function filled(frames: number): SendWindow {
  const window = new SendWindow()
  for (let i = 0; i < frames; i++) window.add(outgoing(), i)
  return window
}

function range(first: number, last: number): AckRange {
  return create(AckRangeSchema, { first: BigInt(first), last: BigInt(last) })
}

/** Numbers of the lost frames, in the order they go again. */
function takeLost(window: SendWindow, nowMs: number): number[] {
  const seqs: number[] = []
  for (let sent = window.peekLost(); sent !== undefined; sent = window.peekLost()) {
    window.repeat(sent, nowMs)
    seqs.push(sent.seq)
  }
  return seqs
}

describe('SendWindow', () => {
  test('numbers frames from 1 without gaps', () => {
    const window = new SendWindow()
    const frames = [outgoing(), outgoing(), outgoing()]
    for (const frame of frames) window.add(frame, 0)
    expect(frames.map(({ frame }) => frame.seq)).toEqual([1n, 2n, 3n])
  })

  test('tells who waits only when all frames before theirs have arrived', () => {
    const window = new SendWindow()
    const notes: string[] = []
    window.add(outgoing(), 0)
    window.add(
      outgoing((what) => notes.push(what)),
      0,
    )
    window.acknowledge(0n, [range(2, 2)])
    expect(notes).toEqual([])
    window.acknowledge(2n, [])
    expect(notes).toEqual(['acknowledged'])
  })

  test('lets the bytes of a held frame go and keeps its number', () => {
    const window = filled(3)
    expect(window.acknowledge(0n, [range(2, 3)]).frames).toBe(2)
    expect([window.outstandingFrames, window.outstandingBytes, window.inFlightFrames]).toEqual([3, 100, 1])
  })

  test('counts nothing when an older acknowledgement comes late', () => {
    const window = filled(4)
    window.acknowledge(3n, [])
    expect(window.acknowledge(1n, [range(3, 3)]).frames).toBe(0)
    expect(window.outstandingFrames).toBe(1)
  })

  test.each([
    ['a frame that was never sent', 5n, []],
    ['a range beyond what was sent', 1n, [range(3, 5)]],
    ['a range that touches the acknowledged ones', 1n, [range(2, 3)]],
    ['a range within the acknowledged ones', 3n, [range(2, 2)]],
    ['a range that ends before it begins', 0n, [range(3, 2)]],
    ['ranges that descend', 0n, [range(4, 4), range(2, 2)]],
    ['ranges without a gap between them', 0n, [range(2, 2), range(3, 3)]],
    ['an absurd number', 2n ** 64n - 1n, []],
  ])('refuses %s and changes nothing', (_, ack, ranges) => {
    const window = filled(4)
    expect(() => window.acknowledge(ack, ranges)).toThrow(
      expect.objectContaining({ reason: ErrorReason.FRAME_INVALID }),
    )
    expect([window.outstandingFrames, window.inFlightFrames]).toEqual([4, 4])
  })

  test('refuses more than 16 ranges', () => {
    const window = filled(60)
    const ranges = Array.from({ length: 17 }, (_, index) => range(2 + 2 * index, 2 + 2 * index))
    expect(() => window.acknowledge(0n, ranges)).toThrow(expect.objectContaining({ reason: ErrorReason.FRAME_INVALID }))
    expect(window.acknowledge(0n, ranges.slice(1)).frames).toBe(16)
  })

  test('marks a frame lost when three sent after it have arrived, and no other', () => {
    const window = filled(6)
    window.acknowledge(1n, [range(3, 3)])
    window.markOvertaken(5, 1_000)
    expect(takeLost(window, 5)).toEqual([])
    window.acknowledge(1n, [range(3, 5)])
    window.markOvertaken(5, 1_000)
    expect(takeLost(window, 5)).toEqual([2])
  })

  test('marks a frame lost when it was overtaken for long enough, and says when that is', () => {
    const window = filled(3)
    window.acknowledge(0n, [range(2, 2)])
    expect(window.markOvertaken(10, 50)).toBe(50)
    expect(window.lostFrames).toBe(0)
    expect(window.markOvertaken(50, 50)).toBeUndefined()
    expect(takeLost(window, 50)).toEqual([1])
  })

  test('does not mark a repeated frame lost because of what arrived before it was repeated', () => {
    const window = filled(5)
    window.acknowledge(0n, [range(2, 5)])
    window.markOvertaken(5, 1_000)
    expect(takeLost(window, 6)).toEqual([1])
    window.markOvertaken(7, 1_000)
    expect(window.lostFrames).toBe(0)
  })

  test('sends everything unacknowledged again in order when the path changed', () => {
    const window = filled(5)
    window.acknowledge(1n, [range(3, 3)])
    window.markAllLost()
    expect([window.inFlightFrames, window.inFlightBytes]).toEqual([0, 0])
    expect(takeLost(window, 9)).toEqual([2, 4, 5])
    expect(window.repeatedFrames).toBe(3)
  })

  test('takes an acknowledgement for a frame that counted as lost', () => {
    const window = filled(3)
    window.markAllLost()
    expect(window.acknowledge(2n, []).frames).toBe(2)
    expect(takeLost(window, 9)).toEqual([3])
  })

  test('marks the oldest frames up to a packet, and gaps, when a path that keeps order times out', () => {
    const window = filled(10)
    window.acknowledge(0n, [range(4, 4), range(6, 6)])
    window.markOldestLost(250)
    expect(takeLost(window, 9)).toEqual([1, 2, 3, 5])
  })

  test('measures the round trip only by frames that were sent once', () => {
    const window = filled(3)
    expect(window.acknowledge(1n, []).sampleSentAtMs).toBe(0)
    window.markAllLost()
    takeLost(window, 50)
    expect(window.acknowledge(3n, []).sampleSentAtMs).toBeUndefined()
  })

  test('tells everybody who waits when it fails', () => {
    const window = new SendWindow()
    const notes: string[] = []
    window.add(
      outgoing((what) => notes.push(what)),
      0,
    )
    window.fail(new MeshError(ErrorReason.LINK_CLOSED, 'closed'))
    expect(notes).toEqual(['LINK_CLOSED'])
    expect([window.outstandingFrames, window.outstandingBytes]).toEqual([0, 0])
  })
})
