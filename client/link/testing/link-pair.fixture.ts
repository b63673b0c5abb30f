import { type MeshError, VirtualClock } from '@mesh/core'
import type { PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { LinkChannel } from '../channel/link-channel.ts'
import { Link } from '../link.ts'
import type { ControlFrame, LinkCloseReport } from '../link-effects.ts'
import type { LinkLimits } from '../link-limits.ts'
import type { PathName } from '../path-state.ts'

/** A packet as one side sent it. */
export interface SentPacket {
  readonly path: PathName
  readonly body: PacketBody
}

/** One link, and everything it did. */
export class RecordedLink {
  readonly link: Link
  readonly sent: SentPacket[] = []
  readonly control: ControlFrame[] = []
  readonly channels: LinkChannel[] = []
  readonly deadPaths: PathName[] = []
  readonly silences: boolean[] = []
  readonly closings: { error: MeshError; report: LinkCloseReport }[] = []
  /** What `transmit` answers. */
  takesMore = true
  /** What `transmitDatagram` answers. */
  takesDatagrams = true
  /** Where packets go; undefined: they are lost. */
  deliver: ((path: PathName, body: PacketBody) => void) | undefined

  constructor(clock: VirtualClock, role: 'lower' | 'higher', limits?: Partial<LinkLimits>) {
    this.link = new Link({
      clock,
      role,
      limits,
      effects: {
        transmit: (path, body) => {
          this.sent.push({ path, body })
          this.deliver?.(path, body)
          return this.takesMore
        },
        transmitDatagram: (path, body) => {
          if (!this.takesDatagrams) return false
          this.deliver?.(path, body)
          return true
        },
        control: (frame) => void this.control.push(frame),
        channel: (channel) => void this.channels.push(channel),
        pathDead: (path) => void this.deadPaths.push(path),
        silenceChanged: (silent) => void this.silences.push(silent),
        closed: (error, report) => void this.closings.push({ error, report }),
      },
    })
  }

  /** Names of the frames sent since the last call, packet by packet. */
  takeFrames(): string[][] {
    return this.sent.splice(0).map(({ body }) => body.frames.map((frame) => frame.body.case ?? 'unknown'))
  }
}

export interface LinkPair {
  readonly clock: VirtualClock
  readonly lower: RecordedLink
  readonly higher: RecordedLink
}

export interface LinkPairOptions {
  limits?: Partial<LinkLimits>
  /** Paths that are usable from the start. Default: relay. */
  paths?: readonly PathName[]
  /** One way, in milliseconds. Default 5. */
  delayMs?: number
  /** Which packets arrive. Default: all. */
  arrives?: (from: 'lower' | 'higher', path: PathName, body: PacketBody) => boolean
}

/** Two links that reach each other. */
export function linkPair(options: LinkPairOptions = {}): LinkPair {
  const { limits, paths = ['relay'], delayMs = 5, arrives = () => true } = options
  const clock = new VirtualClock()
  const lower = new RecordedLink(clock, 'lower', limits)
  const higher = new RecordedLink(clock, 'higher', limits)
  lower.deliver = (path, body) => {
    if (arrives('lower', path, body)) clock.schedule(delayMs, () => higher.link.receive(path, body))
  }
  higher.deliver = (path, body) => {
    if (arrives('higher', path, body)) clock.schedule(delayMs, () => lower.link.receive(path, body))
  }
  for (const path of paths) for (const { link } of [lower, higher]) link.setPath(path, { usable: true })
  return { clock, lower, higher }
}

/** A topic of 32 equal bytes. */
export function topicOf(byte: number): Uint8Array {
  return new Uint8Array(32).fill(byte)
}

/** How a promise has settled, without waiting for it: `pending`, the value, or the error's reason name. */
export function outcomeOf(promise: Promise<unknown>): { now: unknown } {
  const outcome: { now: unknown } = { now: 'pending' }
  promise.then(
    (value) => {
      outcome.now = value
    },
    (error: MeshError) => {
      outcome.now = error.reasonName
    },
  )
  return outcome
}
