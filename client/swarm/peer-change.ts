import type { VerifiedRecord } from '@mesh/core'
import type { PeerConnection } from '../connection/peer-connection.ts'

/** What a swarm has learned of a peer. */
export interface PeerChange {
  readonly record?: VerifiedRecord
  readonly connection?: PeerConnection
  readonly attached?: boolean
  readonly directOnly?: boolean
  /** Its lease ran out. */
  readonly expired?: true
}
