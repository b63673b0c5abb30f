import { create } from '@bufbuild/protobuf'
import { ChannelDataSchema, type Frame, FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { ReceiveWindow } from './receive-window.ts'

function frame(seq: number, bytes = 0): Frame {
  const value = create(ChannelDataSchema, { channel: 2, data: new Uint8Array(bytes), endOfMessage: true })
  return create(FrameSchema, { seq: BigInt(seq), body: { case: 'data', value } })
}

function windowOf(reorderFrames = 100, reorderBytes = 1_000_000): ReceiveWindow {
  return new ReceiveWindow({ reorderFrames, reorderBytes })
}

/** Numbers that come out when these come in. */
function pass(window: ReceiveWindow, seqs: readonly number[]): number[] {
  const out: number[] = []
  for (const seq of seqs) {
    if (window.accept(seq, frame(seq)) !== 'next') continue
    out.push(seq)
    for (let next = window.shift(); next !== undefined; next = window.shift()) out.push(Number(next.seq))
  }
  return out
}

function ranges(window: ReceiveWindow): string {
  return window
    .ranges()
    .map(({ first, last }) => `${first}-${last}`)
    .join(' ')
}

describe('ReceiveWindow', () => {
  test('puts frames back in order, each once', () => {
    const window = windowOf()
    expect(pass(window, [3, 1, 3, 2, 1, 6, 5, 2, 4, 6])).toEqual([1, 2, 3, 4, 5, 6])
    expect([window.inOrder, window.heldFrames, window.heldBytes]).toEqual([6, 0, 0])
  })

  test('reports what it holds as ascending ranges with gaps between them', () => {
    const window = windowOf()
    pass(window, [1, 9, 4, 3, 7, 6])
    expect(ranges(window)).toBe('3-4 6-7 9-9')
    pass(window, [8])
    expect(ranges(window)).toBe('3-4 6-9')
    pass(window, [2])
    expect(ranges(window)).toBe('6-9')
  })

  test('reports at most 16 ranges, the lowest', () => {
    const window = windowOf()
    pass(
      window,
      Array.from({ length: 20 }, (_, index) => 3 + 2 * index),
    )
    expect(window.ranges()).toHaveLength(16)
    expect(window.ranges()[0]?.first).toBe(3n)
  })

  test('drops a frame too far ahead without holding it', () => {
    const window = windowOf(10)
    expect(window.accept(11, frame(11))).toBe('overflow')
    expect(window.accept(10, frame(10))).toBe('held')
    expect(ranges(window)).toBe('10-10')
  })

  test('drops a frame when the bytes are full, and takes it when there is room', () => {
    const window = windowOf(100, 3_000)
    expect(window.accept(2, frame(2, 2_000))).toBe('held')
    expect(window.accept(3, frame(3, 2_000))).toBe('overflow')
    expect(pass(window, [1])).toEqual([1, 2])
    expect(window.accept(3, frame(3, 2_000))).toBe('next')
  })

  test('does not mistake a number beyond its ring for one it holds', () => {
    const window = windowOf(1_000)
    // 64 slots at first: 2 and 66 share one.
    expect(window.accept(2, frame(2))).toBe('held')
    expect(window.accept(66, frame(66))).toBe('held')
    expect(window.accept(66, frame(66))).toBe('duplicate')
    expect(pass(window, [1])).toEqual([1, 2])
    expect(ranges(window)).toBe('66-66')
  })

  test('drops a sequence number that no sender can have reached', () => {
    expect(windowOf().accept(Number(2n ** 64n - 1n), frame(1))).toBe('overflow')
  })
})
