import { ErrorReason } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../../../limits/server-limits.ts'
import { MessageOutbox } from './message-outbox.ts'
import { headSeqs, rowsFrame, stateFrame } from './trunk.fixture.ts'

function outbox(federationMaxQueueBytes = 1_000_000): { box: MessageOutbox; drains: () => number } {
  let drained = 0
  const limits = resolveLimits({ federationMaxQueueBytes })
  const box = new MessageOutbox({ limits, onDrain: () => drained++ })
  return { box, drains: () => drained }
}

const seqs = async (box: MessageOutbox): Promise<number[]> => {
  const frames: Frame[] = []
  for await (const message of box) frames.push(...message)
  return headSeqs(frames)
}

describe('an outbox', () => {
  test('hands a message to a reader that waits, and asks to wait for every other', async () => {
    const { box, drains } = outbox()
    const reader = box[Symbol.asyncIterator]()
    const first = reader.next()
    expect(box.write([stateFrame(1)])).toBe(true)
    expect(box.write([stateFrame(2)])).toBe(false)
    expect(headSeqs((await first).value)).toEqual([1])
    expect(drains()).toBe(0)
    expect(headSeqs((await reader.next()).value)).toEqual([2])
    expect(drains()).toBe(1)
  })

  test('ends after what was written, and takes nothing afterwards', async () => {
    const { box, drains } = outbox()
    box.write([stateFrame(1)])
    box.write([stateFrame(2)])
    box.end()
    expect(box.write([stateFrame(3)])).toBe(false)
    expect(await seqs(box)).toEqual([1, 2])
    expect(drains()).toBe(0)
  })

  test('ends with its error after what was written, also for a reader that waits', async () => {
    const { box } = outbox()
    box.write([stateFrame(1)])
    box.end(new Error('the reason'))
    box.end(new Error('another'))
    const reader = box[Symbol.asyncIterator]()
    expect(headSeqs((await reader.next()).value)).toEqual([1])
    await expect(reader.next()).rejects.toThrow('the reason')
    const waiting = outbox()
    const next = waiting.box[Symbol.asyncIterator]().next()
    waiting.box.end(new Error('the reason'))
    await expect(next).rejects.toThrow('the reason')
  })

  test('refuses what does not fit into federation_max_queue_bytes, and has room again when that was read', async () => {
    const { box } = outbox(10_000)
    const reader = box[Symbol.asyncIterator]()
    box.write([rowsFrame(1, 6_000)])
    const tooMuch = expect.objectContaining({ reason: ErrorReason.LIMIT_EXCEEDED, limit: 'federation_max_queue_bytes' })
    expect(() => box.write([rowsFrame(1, 6_000)])).toThrowError(tooMuch as Error)
    await reader.next()
    expect(box.write([rowsFrame(1, 6_000)])).toBe(false)
  })

  test('forgets what waits when its reader leaves', async () => {
    const { box } = outbox()
    box.write([stateFrame(1)])
    for await (const _ of box) break
    box.write([stateFrame(2)])
    expect(await seqs(box)).toEqual([])
  })
})
