import type { MeshError, Random, VerifiedRecord } from '@mesh/core'
import type { Frame, OriginPosition } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { ByteKey } from '../../../byte-key.ts'
import type { Instant, TopicChange } from '../../../directory/directory.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { OriginStatus } from '../../../ops/federation-status.ts'
import type { MembersView } from '../../backplane.ts'
import type { FederationChannel, Neighbour } from '../channel.ts'
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
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** Unix time at which this process started. */
  readonly startWallMs: number
  readonly now: () => Instant
  readonly effects: ReplicationEffects
  /** Whether somebody here looks at the topic now. Records of other topics are verified when somebody does. */
  readonly watched: (topicKey: ByteKey) => boolean
  /** Whether a server may take part; asked of origins that are heard of through others. Default: all. */
  readonly allowed?: (server: ByteKey) => boolean
  /**
   * Signs a state of this server (statement "origin-state"), so that it can travel through others; the answer goes to
   * `signed`. Without it this server's rows reach only those that it has a stream with.
   */
  readonly sign?: (state: Uint8Array) => void
}

/** The replicated directory of one server. */
export class Replication implements FederationChannel {
  constructor(_options: ReplicationOptions) {}

  /** The own directory changed: published to the others, and shown here, before this returns. */
  ownChange(_change: TopicChange): void {
    throw new Error('not yet')
  }

  /** RECORD_STALE when a departure that was signed for another home of the peer forbids this record of an own peer. */
  refusalOf(_record: VerifiedRecord): MeshError | undefined {
    throw new Error('not yet')
  }

  up(_neighbour: Neighbour): void {
    throw new Error('not yet')
  }

  receive(_server: ByteKey, _frame: Frame): void {
    throw new Error('not yet')
  }

  next(_server: ByteKey): Frame | undefined {
    throw new Error('not yet')
  }

  down(_server: ByteKey, _error: MeshError | undefined): void {
    throw new Error('not yet')
  }

  /** The signature that `sign` was asked for: 64 bytes, over exactly that state. */
  signed(_state: Uint8Array, _signature: Uint8Array): void {
    throw new Error('not yet')
  }

  /** Does what is due. Call it at `nextDeadlineMs`; too early does nothing, too late is noticed as a pause of this process. */
  tick(): void {
    throw new Error('not yet')
  }

  /** Monotonic time at which `tick` has something to do. Ask again after every call of a method. */
  get nextDeadlineMs(): number {
    throw new Error('not yet')
  }

  /** What this server says about itself and what it holds when it opens a stream. */
  hello(): { epoch: bigint; have: OriginPosition[] } {
    throw new Error('not yet')
  }

  /** The visible set: the union over all live origins, this server's own among them. */
  get members(): MembersView {
    throw new Error('not yet')
  }

  /** Where the peer can be reached, newest session first. Empty when it is not a member. */
  homesOf(_topicKey: ByteKey, _peer: ByteKey): readonly Home[] {
    throw new Error('not yet')
  }

  /** Revision of the topic in the visible set. */
  revisionOf(_topicKey: ByteKey): bigint {
    throw new Error('not yet')
  }

  /** Every origin with rows, the own one first. */
  origins(): OriginStatus[] {
    throw new Error('not yet')
  }

  /** Entries of the own log that are kept. */
  get logRows(): number {
    throw new Error('not yet')
  }
}
