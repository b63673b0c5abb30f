/**
 * Reads what a load generator needs out of protobuf bytes, without building objects: the payload time stamps of delivered
 * envelopes and the outcomes of sent ones. Field numbers are those of mesh.signal.v1 (signal_service.proto).
 */

const EVENTS = 1
const EVENT_MESSAGE = 3
const ENVELOPE_PAYLOAD = 6
const OUTCOME_STATUS = 2
const STATUS_REFUSED = 3

const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
const WIRE_LENGTH = 2
const WIRE_FIXED32 = 5

interface Field {
  number: number
  wire: number
  /** The varint's value, when it is one. */
  value: number
  /** Content of a length-delimited field. */
  start: number
  end: number
}

/** Walks the fields of one message; `visit` must not keep the field, it is reused. */
function forEachField(bytes: Uint8Array, start: number, end: number, visit: (field: Field) => void): void {
  const field: Field = { number: 0, wire: 0, value: 0, start: 0, end: 0 }
  let at = start
  const varint = (): number => {
    let value = 0
    let scale = 1
    let byte: number
    do {
      byte = bytes[at++]!
      value += (byte & 0x7f) * scale
      scale *= 128
    } while (byte & 0x80)
    return value
  }
  while (at < end) {
    const tag = varint()
    field.number = tag >>> 3
    field.wire = tag & 7
    if (field.wire === WIRE_VARINT) field.value = varint()
    else if (field.wire === WIRE_LENGTH) {
      const length = varint()
      field.start = at
      field.end = at += length
    } else if (field.wire === WIRE_FIXED64) at += 8
    else if (field.wire === WIRE_FIXED32) at += 4
    else throw new Error(`wire type ${field.wire} at byte ${at}`)
    visit(field)
  }
}

/** Calls `delivered` with the time stamp of every message event in a SubscribeResponse or ExchangeResponse. */
export function scanDeliveries(bytes: Uint8Array, delivered: (sentAtMs: number) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  forEachField(bytes, 0, bytes.length, (event) => {
    if (event.number !== EVENTS) return
    forEachField(bytes, event.start, event.end, (message) => {
      if (message.number !== EVENT_MESSAGE || message.wire !== WIRE_LENGTH) return
      forEachField(bytes, message.start, message.end, (payload) => {
        if (payload.number === ENVELOPE_PAYLOAD) delivered(view.getFloat64(payload.start, true))
      })
    })
  })
}

/** How many outcomes are refusals; `field` is 1 in a SendMessageResponse, 2 in an ExchangeResponse. */
export function countRefused(bytes: Uint8Array, field: 1 | 2): number {
  let refused = 0
  forEachField(bytes, 0, bytes.length, (outcome) => {
    if (outcome.number !== field) return
    forEachField(bytes, outcome.start, outcome.end, (status) => {
      if (status.number === OUTCOME_STATUS && status.value === STATUS_REFUSED) refused++
    })
  })
  return refused
}
