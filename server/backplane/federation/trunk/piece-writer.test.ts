import { ErrorReason } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../../../limits/server-limits.ts'
import { PieceWriter } from './piece-writer.ts'

const PIECE_BYTES = 32 * 1_024

/** A sink whose transport takes a piece whenever the test says so. */
function setUp(federationMaxQueueBytes = 1_000_000) {
  const pieces: number[] = []
  const taken: (() => void)[] = []
  const said: string[] = []
  const writer = new PieceWriter({
    limits: resolveLimits({ federationMaxQueueBytes }),
    onDrain: () => said.push('drain'),
  })
  const open = (): void =>
    writer.open({
      write: (piece, done) => {
        pieces.push(piece.length)
        taken.push(done)
      },
      end: (error) => said.push(`end ${error ?? ''}`.trim()),
    })
  return { writer, open, pieces, said, take: () => taken.shift()?.() }
}

describe('a writer of pieces', () => {
  test('writes one piece at a time, and asks to wait for every message behind the first', () => {
    const { writer, open, pieces, said, take } = setUp()
    open()
    expect(writer.write(new Uint8Array(2 * PIECE_BYTES + 1))).toBe(true)
    expect(writer.write(new Uint8Array(2))).toBe(false)
    expect(pieces).toEqual([PIECE_BYTES])
    take()
    take()
    expect([pieces, said]).toEqual([[PIECE_BYTES, PIECE_BYTES, 1], []])
    take()
    expect([pieces.at(-1), said]).toEqual([2, ['drain']])
    take()
    expect(writer.write(new Uint8Array(3))).toBe(true)
  })

  test('keeps what comes before the transport is there, and ends after it', () => {
    const { writer, open, pieces, said, take } = setUp()
    expect(writer.write(new Uint8Array(1))).toBe(false)
    writer.end(undefined)
    writer.end(undefined)
    expect(writer.write(new Uint8Array(1))).toBe(false)
    open()
    expect([pieces, said]).toEqual([[1], []])
    take()
    expect([pieces, said]).toEqual([[1], ['end']])
  })

  test('refuses what does not fit into federation_max_queue_bytes, and has room again when that was taken', () => {
    const { writer, open, take } = setUp(10_000)
    open()
    writer.write(new Uint8Array(20_000))
    writer.write(new Uint8Array(9_000))
    const refusal = expect.objectContaining({ reason: ErrorReason.LIMIT_EXCEEDED, limit: 'federation_max_queue_bytes' })
    expect(() => writer.write(new Uint8Array(2_000))).toThrow(refusal)
    take()
    expect(writer.write(new Uint8Array(2_000))).toBe(false)
  })
})
