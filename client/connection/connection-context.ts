import type { AeadFactory, Clock, Random, SigningKey } from '@mesh/core'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import type { PeerConnection } from './peer-connection.ts'
import type { RtcFactory, RtcIceServer } from './rtc.ts'
import type { TopicHandle } from './topic-handle.ts'

/** What every connection of one client shares. */
export interface ConnectionContext {
  readonly clock: Clock
  readonly random: Random
  readonly key: SigningKey
  readonly rtc: RtcFactory | undefined
  readonly aead: AeadFactory | undefined
  readonly iceServers: () => readonly RtcIceServer[]
  readonly limits: () => SessionLimits | undefined
  /** True while messages can go through a server. */
  readonly relayUp: () => boolean
  readonly handle: (name: string) => TopicHandle | undefined
  /**
   * The next Signal.seq: one count for all peers, because a connection that is forgotten and made again must not start over
   * while the other side remembers what it has seen of this session.
   */
  readonly nextSignalSeq: () => bigint
  /** True while a session of this peer has that id, at whatever server: what is sealed to it can be opened. */
  readonly holds: (sessionId: Uint8Array) => boolean
  /** Sends to any session of the peer: what is meant for one is sealed to it. */
  readonly send: (to: Uint8Array, topic: Uint8Array, payload: Uint8Array) => Promise<unknown>
  /** Waits for a turn to hold an RTC attempt. */
  readonly rtcTurn: () => Promise<() => void>
  /** Waits for a turn to open a link. */
  readonly linkTurn: () => Promise<() => void>
  /** A link said goodbye and is about to end. */
  readonly closing: (ended: Promise<void>) => void
  /** Nothing wants this connection any more. */
  readonly unused: (connection: PeerConnection) => void
}
