import type { MeshError } from '@mesh/core'
import type { FederationLimits, Frame, OriginPosition } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { ByteKey } from '../../byte-key.ts'

/** Another server at the other end of a stream, after it proved its key. */
export interface Neighbour {
  readonly server: ByteKey
  /** One per boot of that server. */
  readonly epoch: bigint
  /** What it said it holds. */
  readonly have: readonly OriginPosition[]
  /** What it takes. */
  readonly limits: FederationLimits
}

/**
 * One kind of traffic between servers: replication on the directory channel, routing on the messages channel. Frames are
 * pulled: a channel says that it has something (`wake`), and is asked for the next frame whenever the stream has credit
 * and room, so that nothing piles up for a server that is slow.
 */
export interface FederationChannel {
  /** A stream is proven. At most one per server and channel: an older one was taken `down` before. */
  up(neighbour: Neighbour): void
  /** @throws MeshError what the other server did wrong: it is told, and the stream ends. */
  receive(server: ByteKey, frame: Frame): void
  /** The next frame for a server, undefined when there is none now. */
  next(server: ByteKey): Frame | undefined
  /** The stream ended. */
  down(server: ByteKey, error: MeshError | undefined): void
}
