import { create, toBinary } from '@bufbuild/protobuf'
import { seededRandom } from '@mesh/core'
import { type PacketBody, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { PacketSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { describe, expect, it } from 'vitest'
import { encodeBulkBody, encodeBulkPacket } from './bulk-encoding.ts'

const random = seededRandom(7)

function below(limit: number): number {
  return Math.floor(random.uniform() * limit)
}

/** Numbers of every length a varint can have. */
function anyNumber(): number {
  return Math.max(1, Math.floor(2 ** below(53) * (1 + random.uniform())) % Number.MAX_SAFE_INTEGER)
}

function dataFrame(data: Uint8Array, endOfMessage: boolean) {
  const channel = 1 + below(2 ** (1 + below(31)))
  return { seq: BigInt(anyNumber()), body: { case: 'data' as const, value: { channel, data, endOfMessage } } }
}

describe('bulk encoding', () => {
  it('writes packets as the general encoder does', () => {
    for (const size of [1, 127, 128, 16_383, 16_384, 17_000]) {
      const packet = create(PacketSchema, { number: BigInt(anyNumber()), sealed: random.bytes(size) })
      expect(encodeBulkPacket(packet)).toEqual(toBinary(PacketSchema, packet))
    }
  })

  it('writes bodies of data frames as the general encoder does', () => {
    for (let run = 0; run < 500; run++) {
      const frames = Array.from({ length: 1 + below(4) }, () =>
        dataFrame(random.bytes(1 + below(16_000)), below(2) === 0),
      )
      const body = create(PacketBodySchema, { ack: BigInt(below(2) * anyNumber()), frames })
      expect(encodeBulkBody(body)).toEqual(toBinary(PacketBodySchema, body))
    }
  })

  const data = { case: 'data' as const, value: { channel: 2, data: new Uint8Array(3) } }
  const others: [string, PacketBody][] = [
    ['no frames', create(PacketBodySchema, { ack: 3n })],
    ['ranges', create(PacketBodySchema, { ranges: [{ first: 3n, last: 4n }], frames: [{ seq: 1n, body: data }] })],
    [
      'a frame of another kind',
      create(PacketBodySchema, { frames: [{ seq: 1n, body: data }, { body: { case: 'ping', value: { id: 1n } } }] }),
    ],
    [
      'an empty message',
      create(PacketBodySchema, {
        frames: [{ seq: 1n, body: { case: 'data', value: { channel: 2, endOfMessage: true } } }],
      }),
    ],
    ['a frame without a seq', create(PacketBodySchema, { frames: [{ body: data }] })],
    ['a seq past 2^53', create(PacketBodySchema, { frames: [{ seq: 2n ** 60n, body: data }] })],
  ]
  it.each(others)('leaves %s to the general encoder', (_what, body) => {
    expect(encodeBulkBody(body)).toBeUndefined()
  })
})
