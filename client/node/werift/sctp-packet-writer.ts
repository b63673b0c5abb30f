import { HEADER_BYTES } from './sctp-packet.ts'

/** A chunk on its way into a packet. */
export interface PacketChunk {
  /** With its padding to four bytes. */
  readonly byteLength: number
  writeTo(packet: Buffer, at: number): void
}

/** A chunk that is serialised already, by `serializeChunk`. */
export function serializedChunk(bytes: Buffer): PacketChunk {
  return {
    byteLength: bytes.length,
    writeTo: (packet, at) => {
      packet.set(bytes, at)
    },
  }
}

/**
 * Writes packets of one association, all of them into the same bytes: what is encrypted at once needs none of its own, and
 * at ten thousand packets a second the garbage collector would notice.
 */
export class SctpPacketWriter {
  readonly #crc32c: (data: Uint8Array) => number
  readonly #bytes = Buffer.allocUnsafeSlow(USUAL_PACKET_BYTES)

  constructor(crc32c: (data: Uint8Array) => number) {
    this.#crc32c = crc32c
  }

  /** The packet; it holds until the next one is written. */
  write(
    route: { sourcePort: number; destinationPort: number; verificationTag: number },
    chunks: readonly PacketChunk[],
  ): Buffer {
    let length = HEADER_BYTES
    for (const { byteLength } of chunks) length += byteLength
    const packet = length <= USUAL_PACKET_BYTES ? this.#bytes.subarray(0, length) : Buffer.allocUnsafe(length)
    packet.writeUInt16BE(route.sourcePort, 0)
    packet.writeUInt16BE(route.destinationPort, 2)
    packet.writeUInt32BE(route.verificationTag, 4)
    packet.writeUInt32LE(0, 8)
    let at = HEADER_BYTES
    for (const chunk of chunks) {
      chunk.writeTo(packet, at)
      at += chunk.byteLength
    }
    packet.writeUInt32LE(this.#crc32c(packet), 8)
    return packet
  }
}

/** One Ethernet frame; only the answer to a large HEARTBEAT is longer. */
const USUAL_PACKET_BYTES = 1500
