import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, type LinkKeys, MeshError } from '@mesh/core'
import { type PacketBody, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { type Packet, PacketSchema, PeerPayloadSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { encodeBulkBody, encodeBulkPacket } from './bulk-encoding.ts'

/** Packets between a link (plain bodies) and its paths (bytes). */

/** Serialised Packet, as one data-channel message carries it. */
export function encodePacket(packet: Packet): Uint8Array {
  return encodeBulkPacket(packet)
}

/** Throws FRAME_INVALID when the bytes are no Packet. */
export function decodePacket(bytes: Uint8Array): Packet {
  return decode('packet', () => fromBinary(PacketSchema, bytes))
}

/** Serialised PeerPayload with packets of one connection, as an envelope carries it. */
export function encodeRelayed(connectionId: Uint8Array, packets: Packet[]): Uint8Array {
  const payload = create(PeerPayloadSchema, { payload: { case: 'packets', value: { connectionId, packets } } })
  return toBinary(PeerPayloadSchema, payload)
}

/** Seals the bodies of one link. Where the platform does that in place, bulk is written into the same bytes each time. */
export class BodySealer {
  #bytes = new Uint8Array(0)
  #inPlace = true

  /** At once where the platform seals in place. Throws or rejects as PacketSealer.seal. */
  seal(keys: LinkKeys, body: PacketBody): Packet | Promise<Packet> {
    const plaintext = encodeBulkBody(body, (size) => this.#take(size)) ?? toBinary(PacketBodySchema, body)
    const packet = keys.send.seal(plaintext)
    if (packet instanceof Promise) this.#inPlace = false
    return packet
  }

  #take(size: number): Uint8Array<ArrayBuffer> {
    if (!this.#inPlace) return new Uint8Array(size)
    if (this.#bytes.length < size) this.#bytes = new Uint8Array(size)
    return this.#bytes.subarray(0, size)
  }
}

/** At once where the platform opens in place. Throws or rejects with LINK_OPEN, LINK_REPLAY or FRAME_INVALID. */
export function openPacket(keys: LinkKeys, packet: Packet): PacketBody | Promise<PacketBody> {
  const plaintext = keys.receive.open(packet)
  return plaintext instanceof Promise ? plaintext.then(decodeBody) : decodeBody(plaintext)
}

function decodeBody(plaintext: Uint8Array): PacketBody {
  return decode('packet body', () => fromBinary(PacketBodySchema, plaintext))
}

function decode<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new MeshError(ErrorReason.FRAME_INVALID, `${what} cannot be decoded`, { cause })
  }
}
