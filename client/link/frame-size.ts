import { create, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'

// Bytes that frames take in an encoded PacketBody, so that packets can be filled without encoding them twice.

/** seq: a tag, and a varint of at most 8 bytes (below 2^53). It is not written yet when a frame is measured. */
const SEQ_BYTES = 9
/** PacketBody.frames: a tag, and a length of at most 3 bytes (below 2 MiB). */
const ENTRY_BYTES = 4

/**
 * What ChannelData costs besides its data: entry 4, seq 9, Frame.data tag and length 4, channel 6, data tag and
 * length 4, end_of_message 2.
 */
export const DATA_OVERHEAD_BYTES = ENTRY_BYTES + SEQ_BYTES + 4 + 6 + 4 + 2

/** ChannelCredit: entry 4, seq 9, Frame.credit tag and length 2, channel 6, credit 9. */
export const CREDIT_BYTES = ENTRY_BYTES + SEQ_BYTES + 2 + 6 + 9

/** ChannelEnd: entry 4, seq 9, Frame.end tag and length 2, channel 6. */
export const END_BYTES = ENTRY_BYTES + SEQ_BYTES + 2 + 6

/** Ping and Pong: entry 4, tag and length 2, id 11. */
export const PING_BYTES = ENTRY_BYTES + 2 + 11

/** PacketBody.ack: tag and varint 9; 16 ranges of tag and length 2 and two fields of 9: 329 together. */
export const ACK_BYTES = 9 + 16 * (2 + 2 * 9)

/**
 * A frame that is sent as a whole, with its size.
 * @throws MeshError INVALID_ARGUMENT when it is too large for a packet
 */
export function measuredFrame(body: Frame['body'], maxBodyBytes: number): { frame: Frame; bytes: number } {
  const frame = create(FrameSchema, { body })
  const bytes = frameBytes(frame)
  const maxBytes = maxBodyBytes - ACK_BYTES
  if (bytes <= maxBytes) return { frame, bytes }
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, `A frame has ${bytes} bytes, at most ${maxBytes}`)
}

/** Any other frame, by encoding it: for frames that are rare. */
export function frameBytes(frame: Frame): number {
  return ENTRY_BYTES + SEQ_BYTES + toBinary(FrameSchema, frame).length
}

/** What a received frame is counted as while it is kept: its data, and the objects around it. */
export function heldBytes(frame: Frame): number {
  const OBJECTS_BYTES = 256
  return OBJECTS_BYTES + (frame.body.case === 'data' ? frame.body.value.data.length : frameBytes(frame))
}
