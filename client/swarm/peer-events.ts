import type { MeshError } from '@mesh/core'
import type { PeerPresence } from './presence.ts'

/** How messages travel: through the server, directly, or not at all for now. */
export type PeerPath = 'none' | 'relay' | 'direct'

export interface PeerEvents extends Record<string, unknown> {
  /** Messages travel another way from now on. */
  path: PeerPath
  /** The peer went away, or is back. */
  presence: PeerPresence
  /** What the peer says about itself now. */
  state: Uint8Array
  /** The peer is another process now, and knows nothing of what the old one knew. */
  restart: PeerRestart
  /** The peer is not in the swarm any more; sends reject with this. */
  leave: MeshError
}

export interface PeerRestart {
  /** Sends and requests that the old process had not acknowledged. Each has rejected with PEER_RESTARTED. */
  readonly undelivered: number
}
