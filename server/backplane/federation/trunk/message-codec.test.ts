import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type Random, seededRandom } from '@mesh/core'
import {
  type Frame,
  FrameSchema,
  ReplicateRequestSchema,
  RowSchema,
  RowsSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { decodeMessage } from './message-decoder.ts'
import { encodeMessage } from './message-encoder.ts'
import { stateFrame } from './trunk.fixture.ts'

const PREFIX_BYTES = 5
const MAX_UINT64 = 2n ** 64n - 1n
const NUMBERS = [0n, 1n, 127n, 128n, 2n ** 48n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 53n + 1n, 2n ** 63n, MAX_UINT64]

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random.uniform() * items.length)] as T
const some = (random: Random, most: number): Uint8Array => random.bytes(Math.floor(random.uniform() * most))
const list = <T>(random: Random, make: () => T): T[] => Array.from({ length: Math.floor(random.uniform() * 5) }, make)

function anyFrame(random: Random): Frame {
  const number = (): bigint => pick(random, NUMBERS)
  const kinds: (() => Frame['frame'])[] = [
    () => stateFrame(3).frame,
    () => create(FrameSchema, { frame: { case: 'credit', value: { frames: 9 } } }).frame,
    () => {
      const envelopes = list(random, () => ({
        envelope: some(random, 400),
        attempt: number(),
        destination: some(random, 40),
      }))
      return create(FrameSchema, { frame: { case: 'envelopes', value: { envelopes } } }).frame
    },
    () => {
      const detail = new MeshError(ErrorReason.NOT_HERE, 'not here', { retryable: true }).toDetail()
      const receipts = list(random, () => ({
        attempt: number(),
        status: pick(random, [OutcomeStatus.DELIVERED, OutcomeStatus.UNSPECIFIED, OutcomeStatus.REFUSED]),
        ...(random.uniform() < 0.3 && { error: detail }),
      }))
      return create(FrameSchema, { frame: { case: 'receipts', value: { receipts } } }).frame
    },
    () => {
      const rows = list(random, () =>
        create(RowSchema, {
          topic: some(random, 40),
          peerKey: some(random, 40),
          sessionOrder: number(),
          gone: random.uniform() < 0.5,
          reason: pick(random, [0, 1, 200]) as DepartureReason,
          ...(random.uniform() < 0.7 && { record: { record: some(random, 300), signature: some(random, 70) } }),
        }),
      )
      const snapshot = { snapshotId: number(), page: 3, pageCount: 0xffff_ffff }
      const seqs = { epoch: number(), fromSeq: number(), toSeq: number() }
      const page = random.uniform() < 0.5 ? { snapshot } : {}
      const value = create(RowsSchema, { origin: some(random, 40), ...seqs, ...page, rows })
      return create(FrameSchema, { frame: { case: 'rows', value } }).frame
    },
  ]
  return create(FrameSchema, { frame: pick(random, kinds)() })
}

describe('messages between servers', () => {
  test('are written and read as protobuf-es writes and reads them', () => {
    const random = seededRandom(11)
    for (let round = 0; round < 400; round++) {
      const frames = list(random, () => anyFrame(random))
      const theirs = toBinary(ReplicateRequestSchema, create(ReplicateRequestSchema, { frames }))
      const ours = encodeMessage(frames)
      expect(Buffer.compare(ours.subarray(PREFIX_BYTES), theirs)).toBe(0)
      expect(Buffer.from(ours.subarray(0, PREFIX_BYTES)).readUInt32BE(1)).toBe(theirs.length)
      expect(decodeMessage(theirs)).toEqual(fromBinary(ReplicateRequestSchema, theirs).frames)
    }
  })

  const unusual: [string, number[]][] = [
    ['a frame with two contents', [0x0a, 0x04, 0x32, 0x00, 0x3a, 0x00]],
    ['a frame with the same content twice', [0x0a, 0x08, 0x32, 0x02, 0x0a, 0x00, 0x32, 0x02, 0x0a, 0x00]],
    [
      'a row whose record comes in two pieces',
      [0x0a, 0x0e, 0x1a, 0x0c, 0x32, 0x0a, 0x32, 0x03, 0x0a, 0x01, 7, 0x32, 0x03, 0x12, 0x01, 8],
    ],
    ['a field nobody knows', [0x0a, 0x04, 0x3a, 0x02, 0x78, 0x05]],
    ['an empty frame', [0x0a, 0x00]],
    ['nothing', []],
  ]
  test.each(unusual)('mean what they mean to protobuf-es: %s', (_, bytes) => {
    const message = Uint8Array.from(bytes)
    const known = ({ frame }: Frame) =>
      toBinary(FrameSchema, create(FrameSchema, { frame }), { writeUnknownFields: false })
    expect(decodeMessage(message).map(known)).toEqual(fromBinary(ReplicateRequestSchema, message).frames.map(known))
  })

  test('are refused when they are none', () => {
    const good = encodeMessage([stateFrame(1)]).subarray(PREFIX_BYTES)
    for (const bad of [good.subarray(0, -1), Uint8Array.of(0x0a, 0x05, 0x32), Uint8Array.of(0xff, 0xff, 0xff, 0xff)]) {
      expect(() => decodeMessage(bad)).toThrow(expect.objectContaining({ reason: ErrorReason.INVALID_ARGUMENT }))
    }
  })
})
