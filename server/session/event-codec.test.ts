import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { concatBytes } from '@mesh/core'
import { EnvelopeSchema, EventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { keyBytes, sessionBytes } from '../testing/records.ts'
import {
  decodeEvent,
  encodeEnvelope,
  encodeEventBody,
  encodeMessageBody,
  eventBytes,
  messageBodyBytes,
  messageEnvelope,
  senderStamp,
  ttlStamp,
  varintBytes,
  writeEvent,
  writeVarint,
} from './event-codec.ts'

describe('events as bytes', () => {
  test('a message body is the envelope with the true sender, whoever the envelope claims it is from', () => {
    const envelope = create(EnvelopeSchema, {
      id: sessionBytes(1),
      to: keyBytes(2),
      topic: keyBytes(3),
      payload: new Uint8Array(1_000).fill(4),
      from: keyBytes(66),
      fromSession: sessionBytes(66),
    })
    const bytes = toBinary(EnvelopeSchema, envelope)
    const stamp = senderStamp(keyBytes(5), sessionBytes(6))
    const body = encodeMessageBody(bytes, stamp, new Uint8Array(messageBodyBytes(bytes, stamp)))
    const event = fromBinary(EventSchema, body)
    expect(event.event).toEqual({
      case: 'message',
      value: { ...envelope, from: keyBytes(5), fromSession: sessionBytes(6) },
    })
  })

  test.each([
    [
      'with every field',
      { id: sessionBytes(1), to: keyBytes(2), topic: keyBytes(3), toSession: sessionBytes(4), ttlMs: 30_000 },
    ],
    ['with some', { to: keyBytes(2), ttlMs: 1 }],
    ['without any', {}],
  ])('an envelope %s is written as protobuf writes it', (_name, fields) => {
    const stamped = { payload: new Uint8Array(300).fill(7), from: keyBytes(5), fromSession: sessionBytes(6), ...fields }
    const envelope = create(EnvelopeSchema, Object.keys(fields).length === 0 ? {} : stamped)
    expect(encodeEnvelope(envelope)).toEqual(toBinary(EnvelopeSchema, envelope))
  })

  test('an envelope keeps the fields that this version does not know', () => {
    const unknown = Uint8Array.of(((20 << 3) & 0x7f) | 0x80, 1, 5)
    const bytes = concatBytes(toBinary(EnvelopeSchema, create(EnvelopeSchema, { id: sessionBytes(1) })), unknown)
    expect(encodeEnvelope(fromBinary(EnvelopeSchema, bytes))).toEqual(bytes)
  })

  test('gives back the envelope of a message body, and of no other', () => {
    const bytes = new Uint8Array(200).fill(0x7f)
    const body = encodeMessageBody(bytes, new Uint8Array(), new Uint8Array(messageBodyBytes(bytes, new Uint8Array())))
    expect(messageEnvelope(body)).toEqual(bytes)
    expect(messageEnvelope(encodeEventBody({ case: 'members', value: { topic: keyBytes(1) } }))).toBeUndefined()
  })

  test.each([0, 127, 128, 30_000])('a stamp of %d ms overrules the ttl of an envelope', (ttlMs) => {
    const bytes = toBinary(EnvelopeSchema, create(EnvelopeSchema, { id: sessionBytes(1), ttlMs: 25_000 }))
    expect(fromBinary(EnvelopeSchema, concatBytes(bytes, ttlStamp(ttlMs)))).toMatchObject({ ttlMs })
  })

  test.each([0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER])(
    'cursor %d is written as protobuf reads it',
    (cursor) => {
      const body = encodeEventBody({ case: 'heartbeat', value: { serverTimeMs: 7n } })
      const target = new Uint8Array(3 + eventBytes({ cursor, body }))
      expect(writeEvent(target, 3, { cursor, body })).toBe(target.byteLength)
      const event = fromBinary(EventSchema, target.subarray(3))
      expect(event.cursor).toBe(BigInt(cursor))
      expect(event).toEqual(decodeEvent({ cursor, body }))
    },
  )

  test('a varint takes the bytes that were counted', () => {
    for (const value of [0, 127, 128, 300, 2 ** 35, Number.MAX_SAFE_INTEGER]) {
      expect(writeVarint(new Uint8Array(10), 0, value)).toBe(varintBytes(value))
    }
  })
})
