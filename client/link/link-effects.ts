import type { Clock, MeshError } from '@mesh/core'
import type { Frame, PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { LinkChannel } from './channel/link-channel.ts'
import type { LinkLimits } from './link-limits.ts'
import type { PathName } from './path-state.ts'

/** Frames of the connection layer: the shape of `Frame.body`. */
export type ControlFrame = Extract<Frame['body'], { case: 'attach' | 'detach' | 'rtc' }>

/** What was lost when a link closed. */
export interface LinkCloseReport {
  /** Who ended it: this side (on request, by timeout, or because of invalid input), or the other's Goodbye. */
  readonly by: 'local' | 'remote'
  /**
   * Sent, or about to be, and not acknowledged, with one for each channel that has something queued. The other side may have
   * received some of it.
   */
  readonly undeliveredFrames: number
  /** The same in bytes, with what was queued on channels. */
  readonly undeliveredBytes: number
}

/** What a link does to the world. Called synchronously; must not throw; may call the link. */
export interface LinkEffects {
  /**
   * Seals the body and sends it on the path. The body is always taken, at most `maxBodyBytes` when encoded, and does
   * not change afterwards (frames sent again are the same objects in another body). One that cannot be sent is a lost
   * packet. True: go on. False: taken, but full; nothing more comes on the path until `Link.pathReady`, except
   * pings, Pongs and Goodbye. Called several times in a turn, until full or the window is.
   */
  transmit(path: PathName, body: PacketBody): boolean
  /**
   * Seals the body, one datagram, and sends it apart from what `transmit` was given, where nothing waits for it. False: there
   * is no room, it was dropped. One that was taken may be lost too.
   */
  transmitDatagram(path: PathName, body: PacketBody): boolean
  /** A control frame of the other side, in order, exactly once. After a detach its channels have ended already. */
  control(frame: ControlFrame): void
  /** The other side opened a channel. Its data waits for a reader. */
  channel(channel: LinkChannel): void
  /** A path is dead (only `direct` can be): the link has stopped using it, as after `setPath` with usable false. */
  pathDead(path: PathName, error: MeshError): void
  /** Another path carries the data now; undefined: none does. */
  pathChanged?(path: PathName | undefined): void
  /** Whether anything comes back by the relay path has changed: see `Link.silent`. */
  silenceChanged?(silent: boolean): void
  /** The link is over. Exactly once, after everything that waited was told. */
  closed(error: MeshError, report: LinkCloseReport): void
}

export interface LinkOptions {
  clock: Clock
  /** `lower`: this side's peer key is bytewise lower. */
  role: 'lower' | 'higher'
  effects: LinkEffects
  limits?: Partial<LinkLimits> | undefined
  /** Runs a function at the end of the turn, when packets are made. Default `queueMicrotask`. */
  defer?: ((run: () => void) => void) | undefined
}

/** Counters since the link began, and what it holds now. */
export interface LinkStats {
  readonly packetsSent: number
  readonly packetsReceived: number
  readonly framesSent: number
  /** Of these, repeats. */
  readonly framesRepeated: number
  readonly framesReceived: number
  readonly duplicatesReceived: number
  /** Frames dropped because the reorder bounds were full. */
  readonly overflowsReceived: number
  /** Datagrams that left, that had no room to, and that arrived. */
  readonly datagramsSent: number
  readonly datagramsDropped: number
  readonly datagramsReceived: number
  readonly timeouts: number
  readonly pathChanges: number
  readonly outstandingFrames: number
  readonly outstandingBytes: number
  readonly inFlightBytes: number
  /** Queued on channels, not sent yet. */
  readonly queuedBytes: number
  /** Received out of order. */
  readonly heldFrames: number
  readonly heldBytes: number
  readonly openChannels: number
}
