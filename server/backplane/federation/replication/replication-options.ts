import type { Ed25519VerifySync, MeshError, Random } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { Instant, TopicChange } from '../../../directory/directory.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Home } from '../home.ts'

/** What replication makes happen. Called synchronously, from within the method that caused it. */
export interface ReplicationEffects {
  /** The visible set changed: what a watcher of the backplane hears. Only of topics that are `watched`, and of own peers. */
  changed(change: TopicChange): void
  /** `next(server)` may have a frame. Not repeated until `next` has answered undefined. */
  wake(server: ByteKey): void
  /** A server did something that ends its stream: tell it why, and close. */
  refuse(server: ByteKey, error: MeshError): void
  /** Another incarnation of this server was ahead: Hello must say the new epoch from now on. */
  epochChanged(epoch: bigint): void
  /** A verified record of a peer that is joined here too comes from a newer session of it, at another server. */
  outranked(topicKey: ByteKey, peer: ByteKey, home: Home): void
}

export interface ReplicationOptions {
  /** Ed25519 public key of this server. */
  readonly self: Uint8Array
  readonly limits: ServerLimits
  readonly random: Random
  /** Native Ed25519, in place. */
  readonly verify: Ed25519VerifySync
  /** Unix time at which this process started. */
  readonly startWallMs: number
  readonly now: () => Instant
  readonly effects: ReplicationEffects
  /** Whether somebody here looks at the topic now. Records of other topics are verified when somebody does. */
  readonly watched: (topicKey: ByteKey) => boolean
  /** Keys of the servers that this one works with. What cannot be heard of them directly is asked for through others. */
  readonly servers?: readonly Uint8Array[]
  /**
   * Signs a state of this server (statement "origin-state"), so that it can travel through others; the answer goes to
   * `signed`. Without it this server's rows reach only those that it has a stream with.
   */
  readonly sign?: (state: Uint8Array) => void
}
