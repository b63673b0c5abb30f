import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, type Random, seededRandom } from '@mesh/core'
import {
  Channel,
  type Frame,
  FrameSchema,
  ReplicateRequestSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { expect, test } from 'vitest'
import { frameBytes } from './frame-size.ts'

type Content = Frame['frame']
type Init = NonNullable<MessageInitShape<typeof FrameSchema>['frame']>

/** The largest number of either width: what takes the most bytes. */
const U32 = 0xffff_ffff
const U64 = 0xffff_ffff_ffff_ffffn

/** A frame of every kind, with fields that are full, empty, or of random length. */
function contents(random: Random): Content[] {
  const bytes = (max: number): Uint8Array => new Uint8Array(Math.floor(random.uniform() * (max + 1)))
  const many = <T>(make: () => T, max = 20): T[] => Array.from({ length: Math.floor(random.uniform() * max) }, make)
  const position = () => ({ origin: bytes(32), epoch: U64, seq: U64 })
  const signed = () => ({ statement: bytes(600), signature: bytes(64) })
  const error = () => ({
    reason: ErrorReason.LIMIT_EXCEEDED,
    limit: 'ü'.repeat(Math.floor(random.uniform() * 40)),
    limitValue: U64,
    value: U64,
    retryAfterMs: U64,
    retryable: true,
  })
  const row = () => ({
    topic: bytes(32),
    peerKey: bytes(32),
    sessionOrder: U64,
    gone: true,
    reason: DepartureReason.SERVER_LOST,
    record: { record: bytes(2_048), signature: bytes(64) },
  })
  const limits = { recordsPerSecond: U32, messagesPerSecond: U32, maxRequestBytes: U32, maxRows: U64, maxLeaseMs: U32 }
  const init: Init[] = [
    {
      case: 'hello',
      value: {
        version: U32,
        serverKey: bytes(32),
        realm: 'ü'.repeat(32),
        channel: Channel.MESSAGES,
        epoch: U64,
        have: many(position),
        challenge: bytes(32),
        limits,
        credit: U32,
      },
    },
    {
      case: 'originState',
      value: {
        origin: bytes(32),
        epoch: U64,
        headSeq: U64,
        rowCount: U64,
        digest: bytes(32),
        leaseMs: U32,
        beat: U64,
        signed: signed(),
      },
    },
    {
      case: 'rows',
      value: {
        origin: bytes(32),
        epoch: U64,
        fromSeq: U64,
        toSeq: U64,
        snapshot: { snapshotId: U64, page: U32, pageCount: U32 },
        rows: many(row),
      },
    },
    { case: 'pull', value: { after: position() } },
    {
      case: 'interest',
      value: { all: true, addedTopics: many(() => bytes(32)), removedTopics: many(() => bytes(32)), maxMembers: U32 },
    },
    {
      case: 'envelopes',
      value: { envelopes: many(() => ({ envelope: bytes(65_536), attempt: U64, destination: bytes(32) })) },
    },
    {
      case: 'receipts',
      value: { receipts: many(() => ({ attempt: U64, status: OutcomeStatus.REFUSED, error: error() })) },
    },
    { case: 'credit', value: { frames: U32 } },
    { case: 'goaway', value: { deadlineMs: U32, error: error() } },
    { case: 'proof', value: { proof: signed() } },
  ]
  return init.map((content) => create(FrameSchema, { frame: content }).frame)
}

test('the size of a frame is never above what is reckoned, and a full one’s close to it', () => {
  const random = seededRandom(1)
  const kinds = new Set<string | undefined>()
  for (let round = 0; round < 300; round++) {
    for (const frame of contents(random)) {
      kinds.add(frame.case)
      const written = create(FrameSchema, { frame })
      const bytes = toBinary(ReplicateRequestSchema, create(ReplicateRequestSchema, { frames: [written] })).length
      expect(frameBytes(written), frame.case).toBeGreaterThanOrEqual(bytes)
      if (bytes > 10_000) expect(frameBytes(written), frame.case).toBeLessThan(1.2 * bytes)
    }
  }
  expect(kinds.size).toBe(FrameSchema.fields.length)
})
