import { randomBytes } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import { EnvelopeSchema, SendMessageRequestSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { PAYLOAD_BYTES } from './line.ts'

const ID_BYTES = 16
const STAMP_BYTES = 8

export interface BatchTarget {
  readonly to: Uint8Array
  readonly topic: Uint8Array
  /** Envelopes in one batch. */
  readonly count: number
}

/**
 * A `SendMessageRequest` (or, with `field` 2, the envelopes of an `ExchangeRequest`) that is encoded once; every use copies
 * the bytes and overwrites ids and time stamps in place. Encoding on each send would make the load generator the slowest
 * part of the bench.
 */
export class BatchTemplate {
  readonly #bytes: Buffer
  readonly #idOffsets: number[] = []
  readonly #stampOffsets: number[] = []
  #sent = 0

  /** `field` is the number of the repeated Envelope field: 1 in SendMessageRequest, 2 in ExchangeRequest. */
  constructor(target: BatchTarget, field: 1 | 2) {
    const marks = Array.from({ length: target.count }, () => ({
      id: randomBytes(ID_BYTES),
      payload: randomBytes(PAYLOAD_BYTES),
    }))
    const envelopes = marks.map((mark) => create(EnvelopeSchema, { ...mark, to: target.to, topic: target.topic }))
    this.#bytes = Buffer.from(toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { envelopes })))
    for (const mark of marks) {
      this.#idOffsets.push(this.#bytes.indexOf(mark.id))
      this.#stampOffsets.push(this.#bytes.indexOf(mark.payload))
    }
    if (field === 2) this.#renumber(marks.length)
  }

  get length(): number {
    return this.#bytes.length
  }

  /** Writes the next batch into `target` at `offset`: fresh ids, and `sentAtMs` in the first 8 bytes of each payload. */
  writeTo(target: Buffer, offset: number, sentAtMs: number): void {
    this.#bytes.copy(target, offset)
    for (const idOffset of this.#idOffsets) target.writeUInt32LE(this.#sent++, offset + idOffset)
    for (const stampOffset of this.#stampOffsets) target.writeDoubleLE(sentAtMs, offset + stampOffset)
  }

  /** Turns the tag of each envelope from field 1 (0x0a) into field 2 (0x12). The tag precedes a length of one or two bytes. */
  #renumber(count: number): void {
    let offset = 0
    for (let index = 0; index < count; index++) {
      this.#bytes[offset] = 0x12
      let length = 0
      let shift = 0
      let byte: number
      do {
        byte = this.#bytes[++offset]!
        length |= (byte & 0x7f) << shift
        shift += 7
      } while (byte & 0x80)
      offset += 1 + length
    }
  }
}

/** The time stamp `BatchTemplate` put into a payload. */
export function readStamp(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset, STAMP_BYTES).getFloat64(0, true)
}
