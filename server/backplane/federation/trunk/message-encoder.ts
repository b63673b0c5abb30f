import { toBinary } from '@bufbuild/protobuf'
import {
  type Frame,
  FrameSchema,
  type Receipt,
  type RoutedEnvelope,
  type Row,
  type Rows,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { varintBytes, writeVarint } from '../../../session/event-codec.ts'
import { FRAME_PREFIX_BYTES } from '../../../wire/message-splitter.ts'

/**
 * A ReplicateRequest or ReplicateResponse, which look alike, behind the prefix that it has on the stream. What there is much of
 * (rows, envelopes, receipts) is written by hand, into memory of the right size; the rest by protobuf-es.
 */
export function encodeMessage(frames: readonly Frame[]): Uint8Array {
  const contents = frames.map(contentOf)
  let length = 0
  for (const { bytes } of contents) length += lengthDelimited(bytes)
  const message = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + length)
  message[0] = 0
  message.writeUInt32BE(length, 1)
  const writer = new FieldWriter(message, FRAME_PREFIX_BYTES)
  for (const content of contents) {
    writer.begin(1, content.bytes)
    content.write(writer)
  }
  return message
}

/** What a serialised frame will have, and what writes it. */
interface FrameContent {
  readonly bytes: number
  readonly write: (writer: FieldWriter) => void
}

function contentOf(frame: Frame): FrameContent {
  const { frame: content } = frame
  if (content.case === 'envelopes') return repeated(6, content.value.envelopes, envelopeBytes, writeEnvelope)
  if (content.case === 'receipts') return repeated(7, content.value.receipts, receiptBytes, writeReceipt)
  if (content.case === 'rows') {
    const bytes = rowsBytes(content.value)
    return {
      bytes: lengthDelimited(bytes),
      write: (writer) => {
        writer.begin(3, bytes)
        writeRows(writer, content.value)
      },
    }
  }
  const whole = toBinary(FrameSchema, frame)
  return { bytes: whole.length, write: (writer) => writer.raw(whole) }
}

/** A message in field `field` of a frame that has nothing but a repeated field 1. */
function repeated<T>(
  field: number,
  items: readonly T[],
  bytesOf: (item: T) => number,
  write: (writer: FieldWriter, item: T) => void,
): FrameContent {
  const sizes = items.map(bytesOf)
  let bytes = 0
  for (const size of sizes) bytes += lengthDelimited(size)
  return {
    bytes: lengthDelimited(bytes),
    write: (writer) => {
      writer.begin(field, bytes)
      for (const [index, item] of items.entries()) {
        writer.begin(1, sizes[index] as number)
        write(writer, item)
      }
    },
  }
}

function envelopeBytes({ envelope, attempt, destination }: RoutedEnvelope): number {
  return bytesField(envelope) + uint64Field(attempt) + bytesField(destination)
}

function writeEnvelope(writer: FieldWriter, { envelope, attempt, destination }: RoutedEnvelope): void {
  writer.bytes(1, envelope)
  writer.uint64(2, attempt)
  writer.bytes(3, destination)
}

function receiptBytes({ attempt, status, error }: Receipt): number {
  const detail = error === undefined ? 0 : lengthDelimited(toBinary(ErrorDetailSchema, error).length)
  return uint64Field(attempt) + uint32Field(status) + detail
}

function writeReceipt(writer: FieldWriter, { attempt, status, error }: Receipt): void {
  writer.uint64(1, attempt)
  writer.uint32(2, status)
  if (error === undefined) return
  const detail = toBinary(ErrorDetailSchema, error)
  writer.begin(3, detail.length)
  writer.raw(detail)
}

function rowsBytes({ origin, epoch, fromSeq, toSeq, snapshot, rows }: Rows): number {
  let bytes = bytesField(origin) + uint64Field(epoch) + uint64Field(fromSeq) + uint64Field(toSeq)
  if (snapshot !== undefined) bytes += lengthDelimited(pageBytes(snapshot))
  for (const row of rows) bytes += lengthDelimited(rowBytes(row))
  return bytes
}

function writeRows(writer: FieldWriter, { origin, epoch, fromSeq, toSeq, snapshot, rows }: Rows): void {
  writer.bytes(1, origin)
  writer.uint64(2, epoch)
  writer.uint64(3, fromSeq)
  writer.uint64(4, toSeq)
  if (snapshot !== undefined) {
    writer.begin(5, pageBytes(snapshot))
    writer.uint64(1, snapshot.snapshotId)
    writer.uint32(2, snapshot.page)
    writer.uint32(3, snapshot.pageCount)
  }
  for (const row of rows) {
    writer.begin(6, rowBytes(row))
    writeRow(writer, row)
  }
}

function pageBytes({ snapshotId, page, pageCount }: NonNullable<Rows['snapshot']>): number {
  return uint64Field(snapshotId) + uint32Field(page) + uint32Field(pageCount)
}

function rowBytes({ topic, peerKey, sessionOrder, gone, reason, record }: Row): number {
  const signed = record === undefined ? 0 : lengthDelimited(signedBytes(record))
  const numbers = uint64Field(sessionOrder) + uint32Field(Number(gone)) + uint32Field(reason)
  return bytesField(topic) + bytesField(peerKey) + numbers + signed
}

function writeRow(writer: FieldWriter, { topic, peerKey, sessionOrder, gone, reason, record }: Row): void {
  writer.bytes(1, topic)
  writer.bytes(2, peerKey)
  writer.uint64(3, sessionOrder)
  writer.uint32(4, Number(gone))
  writer.uint32(5, reason)
  if (record === undefined) return
  writer.begin(6, signedBytes(record))
  writer.bytes(1, record.record)
  writer.bytes(2, record.signature)
}

function signedBytes({ record, signature }: SignedRecord): number {
  return bytesField(record) + bytesField(signature)
}

/** Fields of protobuf messages, one after the other; numbers of 0 and empty bytes are left out. */
class FieldWriter {
  readonly #target: Uint8Array
  #at: number

  constructor(target: Uint8Array, at: number) {
    this.#target = target
    this.#at = at
  }

  /** Tag and length of a field whose content follows. */
  begin(field: number, length: number): void {
    this.#target[this.#at] = (field << 3) | 2
    this.#at = writeVarint(this.#target, this.#at + 1, length)
  }

  raw(bytes: Uint8Array): void {
    this.#target.set(bytes, this.#at)
    this.#at += bytes.length
  }

  bytes(field: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.begin(field, bytes.length)
    this.raw(bytes)
  }

  uint32(field: number, value: number): void {
    if (value === 0) return
    this.#target[this.#at] = field << 3
    this.#at = writeVarint(this.#target, this.#at + 1, value)
  }

  uint64(field: number, value: bigint): void {
    if (value < FIRST_LARGE) return this.uint32(field, Number(value))
    // Seven bytes of seven bits, which a number holds exactly, and the rest.
    this.#target[this.#at++] = field << 3
    let low = Number(BigInt.asUintN(49, value))
    for (let byte = 0; byte < 7; byte++) {
      this.#target[this.#at++] = (low % 0x80) | 0x80
      low = Math.floor(low / 0x80)
    }
    this.#at = writeVarint(this.#target, this.#at, Number(value >> 49n))
  }
}

/** From here on a number takes more than seven bytes. */
const FIRST_LARGE = 1n << 49n

function lengthDelimited(length: number): number {
  return 1 + varintBytes(length) + length
}

function bytesField({ length }: Uint8Array): number {
  return length === 0 ? 0 : lengthDelimited(length)
}

function uint32Field(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value)
}

function uint64Field(value: bigint): number {
  return value < FIRST_LARGE ? uint32Field(Number(value)) : 8 + varintBytes(Number(value >> 49n))
}
