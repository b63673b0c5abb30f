import type { MeshError } from '@mesh/core'
import type { Channel, Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'

/** Where another server is, and who it must prove to be. */
export interface ServerAddress {
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array
  /** Where `Replicate` is called, for example "https://b.example:4600". */
  readonly url: string
}

/** What one side of a stream hears. Calls never overlap, and none comes after `onClose`. */
export interface StreamEvents {
  /** One message arrived: its frames, in order. A throw closes the stream with the error. */
  onFrames(frames: readonly Frame[]): void
  /** The transport took what was written: there is room again. */
  onDrain(): void
  /** The stream ended, whoever ended it. Called exactly once. */
  onClose(error: MeshError | undefined): void
}

/** One Replicate stream: frames in order, each message once, until one side closes it. */
export interface TrunkStream {
  /** Writes one message. False: the transport's buffer is full, wait for `onDrain`. Ignored after the close. */
  write(frames: readonly Frame[]): boolean
  /** Ends the stream, after what was written; an error is told to the other side where the transport can. Idempotent. */
  close(error?: MeshError): void
  /** The other side proved who it is: the transport may give it more room, time and memory than a stranger gets. */
  proven(): void
  /** Round trip of the transport's last ping in ms, undefined where it has none. */
  readonly rttMs?: number | undefined
}

/**
 * The way to other servers: opens streams and takes theirs. `Replicate` over gRPC is one, the network of the simulator is
 * another. It proves nothing: who is at the other end is found out on the stream (`NodeSession`).
 */
export interface Trunk {
  /**
   * Calls a server. `events.onClose` tells when that fails, never before this returned. Each call has a connection of its
   * own, so that no channel waits for another.
   */
  dial(address: ServerAddress, channel: Channel, events: StreamEvents): TrunkStream
  /** Hands over every stream that another server opens; set once, before the first can come. */
  onStream(accept: (stream: TrunkStream) => StreamEvents): void
  /** Closes every connection. Idempotent. */
  close(): Promise<void>
}
