import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  ExchangeRequestSchema,
  ExchangeResponseSchema,
  OutcomeStatus,
  SendMessageRequestSchema,
  SubscribeResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { expect, test } from 'vitest'
import { BatchTemplate, readStamp } from './batch-template.ts'
import { countRefused, scanDeliveries } from './delivery-scan.ts'

const target = { to: new Uint8Array(32).fill(1), topic: new Uint8Array(32).fill(2), count: 3 }

test('a batch template writes decodable requests with fresh ids and the time stamp it was given', () => {
  const template = new BatchTemplate(target, 1)
  const ids = new Set<string>()
  for (const sentAtMs of [12.5, 99]) {
    const bytes = Buffer.alloc(template.length)
    template.writeTo(bytes, 0, sentAtMs)
    const { envelopes } = fromBinary(SendMessageRequestSchema, bytes)
    expect(envelopes.map((envelope) => readStamp(envelope.payload))).toEqual([sentAtMs, sentAtMs, sentAtMs])
    for (const envelope of envelopes) ids.add(Buffer.from(envelope.id).toString('hex'))
  }
  expect(ids.size).toBe(6)
})

test('a batch template for an exchange carries the envelopes in field 2', () => {
  const template = new BatchTemplate(target, 2)
  const bytes = Buffer.alloc(template.length + 5)
  template.writeTo(bytes, 5, 1)
  expect(fromBinary(ExchangeRequestSchema, bytes.subarray(5)).envelopes).toHaveLength(3)
})

test('a scan finds the time stamp of every message event and skips other events', () => {
  const payload = new Uint8Array(20)
  new DataView(payload.buffer).setFloat64(0, 7.25, true)
  const message = { case: 'message', value: { id: new Uint8Array(16), payload } } as const
  const bytes = toBinary(
    SubscribeResponseSchema,
    create(SubscribeResponseSchema, {
      events: [
        { cursor: 1n, event: message },
        { cursor: 1n, event: { case: 'heartbeat', value: { serverTimeMs: 1_700_000_000_000n } } },
        { cursor: 2n, event: message },
      ],
    }),
  )
  const found: number[] = []
  scanDeliveries(bytes, (sentAtMs) => found.push(sentAtMs))
  expect(found).toEqual([7.25, 7.25])
})

test('a scan counts refused outcomes only', () => {
  const outcomes = [OutcomeStatus.DELIVERED, OutcomeStatus.REFUSED, OutcomeStatus.HELD].map((status) => ({ status }))
  const bytes = toBinary(ExchangeResponseSchema, create(ExchangeResponseSchema, { outcomes }))
  expect(countRefused(bytes, 2)).toBe(1)
})
