import type { MeshError } from '@mesh/core'
import type { Channel } from './channel.ts'
import type { Message } from './message.ts'
import type { Peer } from './peer.ts'

export interface SwarmEvents extends Record<string, unknown> {
  /** A message of a peer. */
  message: Message
  /** A peer is in the swarm: admitted, and reachable. */
  join: Peer
  /** A peer left, was away for too long (`SwarmOptions.awayMs`), or is no longer linked to because the topology has other links for its room. */
  leave: Peer
  /** A peer has another state, or is another process. */
  update: Peer
  /** A peer's path changed: see `peer.path`. */
  path: Peer
  /** A peer went away, or is back: see `peer.presence`. */
  presence: Peer
  /** A peer opened a named channel. Without a listener the channel is refused. */
  channel: Channel
  /** A peer's process restarted: sends that the old one had not acknowledged have rejected with PEER_RESTARTED. */
  restart: Peer
  status: SwarmStatus
  /** Something failed that no call reports: a record was refused, a request handler threw, the session was taken over. */
  error: MeshError
}

/** 'reconnecting': the server is out of reach; links that are direct go on working. */
export type SwarmStatus = 'joining' | 'joined' | 'reconnecting' | 'closed'
