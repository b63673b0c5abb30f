import { create, toBinary } from '@bufbuild/protobuf'
import {
  AckRangeSchema,
  ChannelCreditSchema,
  ChannelDataSchema,
  ChannelEndSchema,
  type Frame,
  FrameSchema,
  PacketBodySchema,
  PingSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { expect, test } from 'vitest'
import { ACK_BYTES, CREDIT_BYTES, DATA_OVERHEAD_BYTES, END_BYTES, frameBytes, PING_BYTES } from './frame-size.ts'

const LARGEST_SEQ = BigInt(Number.MAX_SAFE_INTEGER)
const LARGEST_CHANNEL = 0xffff_ffff

function encodedBytes(body: Frame['body'], seq = LARGEST_SEQ): number {
  return toBinary(PacketBodySchema, create(PacketBodySchema, { frames: [create(FrameSchema, { seq, body })] })).length
}

test('no frame takes more than it was counted as when every field has its largest value', () => {
  const data = create(ChannelDataSchema, { channel: LARGEST_CHANNEL, data: new Uint8Array(16_000), endOfMessage: true })
  const credit = create(ChannelCreditSchema, { channel: LARGEST_CHANNEL, credit: LARGEST_SEQ })
  const end = create(ChannelEndSchema, { channel: LARGEST_CHANNEL })
  const ping = create(PingSchema, { id: 2n ** 64n - 1n })
  expect(encodedBytes({ case: 'data', value: data })).toBeLessThanOrEqual(16_000 + DATA_OVERHEAD_BYTES)
  expect(encodedBytes({ case: 'credit', value: credit })).toBeLessThanOrEqual(CREDIT_BYTES)
  expect(encodedBytes({ case: 'end', value: end })).toBeLessThanOrEqual(END_BYTES)
  expect(encodedBytes({ case: 'ping', value: ping }, 0n)).toBeLessThanOrEqual(PING_BYTES)
  const measured = create(FrameSchema, { body: { case: 'data', value: data } })
  expect(encodedBytes({ case: 'data', value: data })).toBeLessThanOrEqual(frameBytes(measured))
})

test('acknowledgements take no more than is kept free for them when every field has its largest value', () => {
  const ranges = Array.from({ length: 16 }, () => create(AckRangeSchema, { first: LARGEST_SEQ, last: LARGEST_SEQ }))
  const body = create(PacketBodySchema, { ack: LARGEST_SEQ, ranges })
  expect(toBinary(PacketBodySchema, body).length).toBeLessThanOrEqual(ACK_BYTES)
})
