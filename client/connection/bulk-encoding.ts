import type { ChannelData, Frame, PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'

/**
 * The two messages that carry bulk, written with one copy of the data into bytes of the right size. The general encoder
 * grows its buffers as it goes and copies the data several times, which for packets of 16 KB is a twelfth of what a direct
 * path costs. What it writes is the same, byte for byte; whatever is not bulk is left to it.
 */

/** Field numbers and wire types of mesh.peer.v1, as tags. */
const TAG = {
  packetNumber: 0x09,
  packetSealed: 0x12,
  bodyAck: 0x08,
  bodyFrames: 0x1a,
  frameSeq: 0x08,
  frameData: 0x2a,
  dataChannel: 0x08,
  dataData: 0x12,
  dataEndOfMessage: 0x18,
}

/** Serialised Packet. */
export function encodeBulkPacket({ number, sealed }: Packet): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(10 + varintBytes(sealed.length) + sealed.length)
  bytes[0] = TAG.packetNumber
  new DataView(bytes.buffer).setBigUint64(1, number, true)
  bytes[9] = TAG.packetSealed
  bytes.set(sealed, writeVarint(bytes, 10, sealed.length))
  return bytes
}

/**
 * Serialised PacketBody, when it is an acknowledgement with non-empty data frames and nothing else; otherwise undefined.
 * `allocate` gives the bytes that it is written into, as many as it is asked for.
 */
export function encodeBulkBody(
  body: PacketBody,
  allocate: (size: number) => Uint8Array<ArrayBuffer> = (size) => new Uint8Array(size),
): Uint8Array<ArrayBuffer> | undefined {
  const frames = body.frames.map(planFrame)
  if (body.ranges.length > 0 || body.ack > MAX_SAFE || frames.length === 0 || !frames.every(isPlanned)) return undefined
  const ack = Number(body.ack)
  let size = ack === 0 ? 0 : 1 + varintBytes(ack)
  for (const { frameBytes } of frames) size += 1 + varintBytes(frameBytes) + frameBytes
  const bytes = allocate(size)
  let at = ack === 0 ? 0 : writeField(bytes, 0, TAG.bodyAck, ack)
  for (const frame of frames) at = writeFrame(bytes, at, frame)
  return bytes
}

interface PlannedFrame {
  readonly seq: number
  readonly data: ChannelData
  /** Bytes of ChannelData, and of the Frame around it. */
  readonly dataBytes: number
  readonly frameBytes: number
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)

function planFrame({ seq, body }: Frame): PlannedFrame | undefined {
  if (body.case !== 'data' || seq === 0n || seq > MAX_SAFE) return undefined
  const data = body.value
  if (data.data.length === 0 || data.channel === 0) return undefined
  const pieces = 1 + varintBytes(data.channel) + 1 + varintBytes(data.data.length) + data.data.length
  const dataBytes = pieces + (data.endOfMessage ? 2 : 0)
  const frameBytes = 1 + varintBytes(Number(seq)) + 1 + varintBytes(dataBytes) + dataBytes
  return { seq: Number(seq), data, dataBytes, frameBytes }
}

function isPlanned(frame: PlannedFrame | undefined): frame is PlannedFrame {
  return frame !== undefined
}

function writeFrame(bytes: Uint8Array, start: number, { seq, data, dataBytes, frameBytes }: PlannedFrame): number {
  let at = writeField(bytes, start, TAG.bodyFrames, frameBytes)
  at = writeField(bytes, at, TAG.frameSeq, seq)
  at = writeField(bytes, at, TAG.frameData, dataBytes)
  at = writeField(bytes, at, TAG.dataChannel, data.channel)
  at = writeField(bytes, at, TAG.dataData, data.data.length)
  bytes.set(data.data, at)
  at += data.data.length
  return data.endOfMessage ? writeField(bytes, at, TAG.dataEndOfMessage, 1) : at
}

function writeField(bytes: Uint8Array, at: number, tag: number, value: number): number {
  bytes[at] = tag
  return writeVarint(bytes, at + 1, value)
}

/** Base 128, least significant group first; divides because bit operators end at 32 bits. */
function writeVarint(bytes: Uint8Array, start: number, value: number): number {
  let at = start
  let rest = value
  while (rest > 0x7f) {
    bytes[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[at++] = rest
  return at
}

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}
