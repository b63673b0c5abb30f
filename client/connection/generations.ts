import { ErrorReason, equalBytes, type LinkKeys, MeshError } from '@mesh/core'
import type { PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { openPacket } from './packet-codec.ts'

/** Keys of one handshake. */
export interface Generation {
  readonly connectionId: Uint8Array
  readonly keys: LinkKeys
}

/** A packet that opened, and the keys that opened it. */
export interface OpenedPacket {
  readonly body: PacketBody
  readonly generation: Generation
}

/** The keys in force, those about to replace them, and those before, for packets still on their way. */
const MAX_GENERATIONS = 3

/**
 * The keys of one link, in generations, one per handshake. The answering side of a rekeying goes on sealing with the old one until
 * a packet of the new one has opened, because the HelloReply may still be on its way; both sides open either.
 */
export class Generations {
  /** Newest first. */
  #receiving: Generation[]
  #sending: Generation

  constructor(first: Generation) {
    this.#sending = first
    this.#receiving = [first]
  }

  /** What is sealed with now. */
  get sending(): Generation {
    return this.#sending
  }

  /** The keys of that connection. */
  of(connectionId: Uint8Array): Generation | undefined {
    return this.#receiving.find((generation) => equalBytes(generation.connectionId, connectionId))
  }

  /**
   * Calling side: both have the new keys, so packets are sealed with them from now on. Answering side: `replaced` is the
   * connection the caller says it is at, so from now on that is sealed with; the new keys follow when a packet of them opens.
   */
  rekey(next: Generation, replaced: Uint8Array | undefined): void {
    const known = replaced && this.of(replaced)
    this.#sending = replaced ? (known ?? this.#sending) : next
    // Keys the caller never used are of no use to anybody: their call was given up.
    const older = this.#receiving.slice(known ? this.#receiving.indexOf(known) : 0)
    this.#receiving = [next, ...older].slice(0, MAX_GENERATIONS)
  }

  /** Opens a packet with the keys given, or else with any. Throws or rejects with LINK_REPLAY, LINK_OPEN or FRAME_INVALID. */
  open(packet: Packet, only?: Generation): OpenedPacket | Promise<OpenedPacket> {
    return openWithAny(only ? [only] : this.#receiving, packet)
  }

  /** A packet of these keys opened: newer ones than those in force are what the other side has, too. */
  opened(generation: Generation): void {
    if (this.#receiving.indexOf(generation) < this.#receiving.indexOf(this.#sending)) this.#sending = generation
  }
}

/** Throws or rejects with LINK_REPLAY when any key says so, otherwise as the last key does. */
function openWithAny(
  [generation, ...others]: readonly Generation[],
  packet: Packet,
  failure?: MeshError,
): OpenedPacket | Promise<OpenedPacket> {
  if (!generation) throw failure
  const next = (error: unknown) => {
    return openWithAny(others, packet, failure?.reason === ErrorReason.LINK_REPLAY ? failure : MeshError.from(error))
  }
  let body: PacketBody | Promise<PacketBody>
  try {
    body = openPacket(generation.keys, packet)
  } catch (error) {
    return next(error)
  }
  return body instanceof Promise ? body.then((opened) => ({ body: opened, generation }), next) : { body, generation }
}
