import type { Random } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { copyOf } from './copy-of.ts'

/** Frames that one server writes to another on one stream. */
export interface Writing {
  /** The end of the stream that it writes to, as an identity. */
  readonly stream: object
  readonly from: number
  readonly to: number
  readonly frames: readonly Frame[]
}

/** Sees what is written, and returns the message that travels in its place. */
export type FrameTap = (writing: Writing) => readonly Frame[]

/** What replication and routing promise to survive; a stream that loses its handshake or its credit only ends. */
const TAMPERED = new Set(['rows', 'originState', 'pull', 'envelopes', 'receipts'])

/** Shares of what is tampered with, now. */
export interface TamperRates {
  /** Frames that are lost and replaced, or moved. */
  readonly frames: () => number
  /** Frames whose rows are not all there. */
  readonly rows: () => number
}

/**
 * Loses, doubles and reorders frames of a stream: worse than TCP, and what a bug could do. A frame that is lost makes room for
 * an older one, sent again, so that the number of frames, which credit counts, stays what it was.
 */
export function tampering(random: Random, rates: TamperRates): FrameTap {
  const earlier = new WeakMap<object, Frame>()
  return ({ stream, frames }) => {
    const result = frames.map((frame) => (random.uniform() < rates.rows() ? withRowLost(frame) : frame))
    for (const [i, { frame }] of frames.entries()) {
      if (frame.case === undefined || !TAMPERED.has(frame.case)) continue
      const old = earlier.get(stream)
      if (random.uniform() < 0.3) earlier.set(stream, frames[i] as Frame)
      if (old !== undefined && random.uniform() < rates.frames()) result[i] = old
      else if (i > 0 && random.uniform() < rates.frames()) swap(result, i)
    }
    return result
  }
}

/** Exchanges a frame with the one before it, if that may be moved too. */
function swap(frames: Frame[], i: number): void {
  const before = frames[i - 1] as Frame
  if (!TAMPERED.has(before.frame.case ?? '')) return
  frames[i - 1] = frames[i] as Frame
  frames[i] = before
}

/** As a bug of the sender might: a row gives way to the one before it. Only the digest can tell. */
function withRowLost(frame: Frame): Frame {
  if (frame.frame.case !== 'rows' || frame.frame.value.rows.length < 2) return frame
  const copy = copyOf(frame)
  if (copy.frame.case !== 'rows') return frame
  const { rows, snapshot } = copy.frame.value
  if (snapshot !== undefined) rows.pop()
  else rows[rows.length - 1] = rows[rows.length - 2] as (typeof rows)[number]
  return copy
}
