import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, seededRandom } from '@mesh/core'
import {
  EnvelopeSchema,
  ExchangeRequestSchema,
  SendMessageRequestSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { outgoingEnvelope } from '../../router/envelope.ts'
import { EnvelopeKeys } from '../../router/envelope-reader.ts'
import { keyBytes, sessionBytes } from '../../testing/records.ts'
import { readExchange, readSendMessage } from './requests.ts'

const envelope = create(EnvelopeSchema, {
  id: sessionBytes(1),
  to: keyBytes(2),
  topic: keyBytes(3),
  toSession: sessionBytes(4),
  ttlMs: 30_000,
  payload: new Uint8Array(300).fill(5),
})
const request = toBinary(
  SendMessageRequestSchema,
  create(SendMessageRequestSchema, { envelopes: [envelope, envelope] }),
)

/** What both ways of reading come to: the same envelopes, or the same refusal. */
function outcome(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    if (error instanceof MeshError) return error.reason
    throw error
  }
}

describe('reading requests in place', () => {
  test('finds the same routing fields as decoding, and keeps the bytes', () => {
    const [first, second] = readSendMessage(request, new EnvelopeKeys())
    expect(first).toEqual(outgoingEnvelope(envelope))
    expect(second).toEqual(first)
  })

  test('reads cursor, acknowledgement and envelopes of an Exchange', () => {
    const message = create(ExchangeRequestSchema, { cursor: 5n, acknowledged: 300n, envelopes: [envelope] })
    expect(readExchange(toBinary(ExchangeRequestSchema, message), new EnvelopeKeys())).toMatchObject({
      cursor: 5n,
      acknowledged: 300,
      envelopes: [{ ttlMs: 30_000, payloadBytes: 300 }],
    })
  })

  test('takes the last value of a repeated field, as protobuf does', () => {
    const twice = new Uint8Array([...toBinary(EnvelopeSchema, envelope), 0x12, 1, 9])
    const message = new Uint8Array([0x0a, (twice.length & 0x7f) | 0x80, twice.length >> 7, ...twice])
    expect(readSendMessage(message, new EnvelopeKeys())[0]?.to).toBe('\x09')
  })

  test('refuses what is cut off, so that nothing can swallow the server’s stamp', () => {
    for (let length = 1; length < request.byteLength; length++) {
      const cut = request.subarray(0, length)
      const read = outcome(() => readSendMessage(cut, new EnvelopeKeys()))
      // Cut between two fields it is a shorter, valid message.
      if (Array.isArray(read)) expect(read.length).toBeLessThan(2)
      else expect(read).toBe(ErrorReason.INVALID_ARGUMENT)
    }
  })

  test('comes to what a full decode comes to, for any damaged request', () => {
    const random = seededRandom(11)
    let readable = 0
    for (let round = 0; round < 3_000; round++) {
      const damaged = Uint8Array.from(request)
      for (let hits = 0; hits < 3; hits++)
        damaged[Math.floor(random.uniform() * 60)] = Math.floor(random.uniform() * 256)
      const quick = outcome(() => readSendMessage(damaged, new EnvelopeKeys()))
      expect(withoutBytes(quick)).toEqual(withoutBytes(decoded(damaged)))
      if (!Array.isArray(quick)) continue
      readable += 1
      // What is passed on must be a whole message, or it could swallow the stamp: it decodes, to the same fields.
      for (const { bytes, ...fields } of quick) {
        expect(outgoingEnvelope(fromBinary(EnvelopeSchema, bytes))).toMatchObject(fields)
      }
    }
    expect(readable).toBeGreaterThan(100)
  })
})

/** The same through the real decoder. */
function decoded(bytes: Uint8Array): unknown {
  try {
    return fromBinary(SendMessageRequestSchema, bytes).envelopes.map(outgoingEnvelope)
  } catch {
    return ErrorReason.INVALID_ARGUMENT
  }
}

function withoutBytes(read: unknown): unknown {
  return Array.isArray(read) ? read.map(({ bytes: _, ...fields }) => fields) : read
}
