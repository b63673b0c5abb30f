import type { Random } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { forgedRows, forgedState, type OthersRow, withRowLost } from './forgery.ts'

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

/** What a server lies about: the rows of another one, or the rows or the state of another one that it passes on. */
export type Lie = 'rows' | 'passedRows' | 'passedState'

export interface TamperingOptions {
  readonly random: Random
  /** Share of frames that are lost and replaced, or moved, now. */
  readonly frames: () => number
  /** Share of frames whose rows are not all there, now. */
  readonly rows: () => number
  /** What lies there are, now. */
  readonly lie: () => Lie | undefined
  /** A row of a third server that somebody could lie about; undefined while there is none. */
  readonly rowOfAnother: (from: number, to: number) => OthersRow | undefined
  /** Rows that `from` publishes do not all get to `to`. */
  readonly onRowsLost: (from: number, to: number) => void
  readonly onLie: (from: number, to: number) => void
}

/** A server that lies is not heard for a while, and longer each time: the run is to go on. */
const MAX_LIES = 3

/**
 * What happens to frames of a stream. Each is something that a server, or a bug, could do:
 *
 *  - Frames are lost, doubled and reordered. One that is lost makes room for an older one, sent again, so that the number of
 *    frames, which credit counts, stays what it was.
 *  - A row gets lost between the log and the table, and nothing but the digest can tell.
 *  - A server sends rows of another one, or changes a signed state that it passes on.
 */
export function tampering(options: TamperingOptions): FrameTap {
  const { random, onRowsLost, onLie } = options
  const earlier = new WeakMap<object, Frame>()
  let lies = 0

  const lied = ({ from, to }: Writing, frame: Frame): Frame | undefined => {
    const kind = options.lie()
    const { case: what, value } = frame.frame
    if (kind === undefined || lies >= MAX_LIES || (what !== 'originState' && what !== 'rows')) return undefined
    const isPassedOn = value.origin[0] !== from
    if (kind === 'rows') {
      const row = what === 'originState' && random.uniform() < 0.02 ? options.rowOfAnother(from, to) : undefined
      return row && forgedRows(row)
    }
    if (!isPassedOn || random.uniform() < 0.5) return undefined
    if (kind === 'passedState') return what === 'originState' ? forgedState(value) : undefined
    return what === 'rows' ? withRowLost(value, random) : undefined
  }

  const changed = (writing: Writing, frame: Frame): Frame => {
    const { from, to } = writing
    const lie = lied(writing, frame)
    if (lie !== undefined) {
      lies += 1
      onLie(from, to)
      return lie
    }
    if (frame.frame.case !== 'rows' || random.uniform() >= options.rows()) return frame
    if (frame.frame.value.origin[0] === from) onRowsLost(from, to)
    return withRowLost(frame.frame.value, random)
  }

  return (writing) => {
    const { stream, frames } = writing
    const result = frames.map((frame) => changed(writing, frame))
    const rate = options.frames()
    if (rate === 0) return result
    for (const [i, { frame }] of frames.entries()) {
      if (frame.case === undefined || !TAMPERED.has(frame.case)) continue
      const old = earlier.get(stream)
      if (random.uniform() < 0.3) earlier.set(stream, frames[i] as Frame)
      if (old !== undefined && random.uniform() < rate) result[i] = old
      else if (i > 0 && random.uniform() < rate) swap(result, i)
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
