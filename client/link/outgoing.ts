import type { MeshError } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/peer/v1/link_pb'

/** Who waits for a frame. Exactly one of both is called, once. */
export interface Settlement {
  /** The other side has this frame and all before it. */
  acknowledged(): void
  /** The link closed first. */
  failed(error: MeshError): void
}

/** A reliable frame on its way into a packet; the send window writes its seq. */
export interface Outgoing {
  readonly frame: Frame
  /** Bytes it takes in an encoded PacketBody, at most. */
  readonly bytes: number
  readonly settlement?: Settlement | undefined
}
