import { create, toBinary } from '@bufbuild/protobuf'
import { OutcomeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { EnvelopeOutcome } from '../../router/outcome.ts'
import { eventBytes, varintBytes, writeEvent, writeVarint } from '../../session/event-codec.ts'
import type { StoredEvent } from '../../session/replay-buffer.ts'
import { FRAME_PREFIX_BYTES } from '../../wire/message-splitter.ts'

/** Tags of SubscribeResponse.events, ExchangeResponse.events and SendMessageResponse.outcomes (1), ExchangeResponse.outcomes (2). */
const TAG_FIRST = (1 << 3) | 2
const TAG_SECOND = (2 << 3) | 2
const TAG_OUTCOME_STATUS = (2 << 3) | 0

/** One framed SubscribeResponse or ExchangeResponse, written in one piece. */
export function encodeStreamFrame(events: readonly StoredEvent[], outcomes: readonly Uint8Array[]): Uint8Array {
  const eventSizes = events.map(eventBytes)
  let length = 0
  for (const size of eventSizes) length += 1 + varintBytes(size) + size
  for (const { byteLength } of outcomes) length += 1 + varintBytes(byteLength) + byteLength
  const frame = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + length)
  frame[0] = 0
  frame.writeUInt32BE(length, 1)
  let at = FRAME_PREFIX_BYTES
  for (const [index, event] of events.entries()) {
    frame[at] = TAG_FIRST
    at = writeVarint(frame, at + 1, eventSizes[index] as number)
    at = writeEvent(frame, at, event)
  }
  writeFields(frame, at, TAG_SECOND, outcomes)
  return frame
}

/** A SendMessageResponse, without framing. */
export function encodeOutcomes(outcomes: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const { byteLength } of outcomes) length += 1 + varintBytes(byteLength) + byteLength
  const message = Buffer.allocUnsafe(length)
  writeFields(message, 0, TAG_FIRST, outcomes)
  return message
}

/** An Outcome. Written by hand when nothing went wrong: the id, and the status as a number below 128. */
export function encodeOutcome({ id, status, error }: EnvelopeOutcome): Uint8Array {
  if (error !== undefined)
    return toBinary(OutcomeSchema, create(OutcomeSchema, { id, status, error: error.toDetail() }))
  // An id that was accepted has 16 bytes: its length is one byte.
  const outcome = new Uint8Array(id.byteLength + 4)
  outcome[0] = TAG_FIRST
  outcome[1] = id.byteLength
  outcome.set(id, 2)
  outcome[id.byteLength + 2] = TAG_OUTCOME_STATUS
  outcome[id.byteLength + 3] = status
  return outcome
}

/** Puts the prefix of a stream's message before `message`. */
export function frame(flags: number, message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + message.byteLength)
  framed[0] = flags
  framed.writeUInt32BE(message.byteLength, 1)
  framed.set(message, FRAME_PREFIX_BYTES)
  return framed
}

function writeFields(target: Uint8Array, start: number, tag: number, values: readonly Uint8Array[]): void {
  let at = start
  for (const value of values) {
    target[at] = tag
    at = writeVarint(target, at + 1, value.byteLength)
    target.set(value, at)
    at += value.byteLength
  }
}
