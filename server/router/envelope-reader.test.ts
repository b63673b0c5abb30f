import { create, toBinary } from '@bufbuild/protobuf'
import { concatBytes, ErrorReason, MeshError, seededRandom } from '@mesh/core'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { senderStamp, ttlStamp } from '../session/event-codec.ts'
import { keyBytes, sessionBytes } from '../testing/records.ts'
import { routedEnvelope } from './envelope.ts'
import { EnvelopeKeys, readStamped } from './envelope-reader.ts'

const envelope = create(EnvelopeSchema, {
  id: sessionBytes(1),
  to: keyBytes(2),
  topic: keyBytes(3),
  toSession: sessionBytes(4),
  ttlMs: 30_000,
  payload: new Uint8Array(300).fill(5),
  from: keyBytes(6),
  fromSession: sessionBytes(7),
})
const bytes = toBinary(EnvelopeSchema, envelope)

function refusal(read: () => unknown): ErrorReason | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    return MeshError.from(error).reason
  }
}

describe('a stamped envelope', () => {
  test('is read as the decoder reads it, and keeps its bytes', () => {
    const read = readStamped(bytes, new EnvelopeKeys())
    expect(read).toEqual(routedEnvelope(envelope, bytes))
    expect(read.bytes).toBe(bytes)
  })

  test('says what was appended last', () => {
    const appended = concatBytes(bytes, senderStamp(keyBytes(8), sessionBytes(9)), ttlStamp(10))
    const expected = routedEnvelope({ ...envelope, from: keyBytes(8), ttlMs: 10 }, appended)
    expect(readStamped(appended, new EnvelopeKeys())).toEqual(expected)
  })

  test('is told from the one before it by every key', () => {
    const keys = new EnvelopeKeys()
    readStamped(bytes, keys)
    const other = create(EnvelopeSchema, { id: sessionBytes(1), to: keyBytes(9), payload: Uint8Array.of(1) })
    expect(readStamped(toBinary(EnvelopeSchema, other), keys)).toEqual(routedEnvelope(other))
  })

  test('that is damaged is read, or refused as INVALID_ARGUMENT', () => {
    const random = seededRandom(1)
    for (let round = 0; round < 2_000; round++) {
      const damaged = bytes.slice(0, 1 + Math.floor(random.uniform() * bytes.length))
      damaged[Math.floor(random.uniform() * damaged.length)] = Math.floor(random.uniform() * 256)
      const reason = refusal(() => readStamped(damaged, new EnvelopeKeys()))
      expect([undefined, ErrorReason.INVALID_ARGUMENT]).toContain(reason)
    }
  })
})
