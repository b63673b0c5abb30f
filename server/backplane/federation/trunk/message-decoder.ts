import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import {
  EnvelopesSchema,
  type Frame,
  FrameSchema,
  type Receipt,
  ReceiptSchema,
  ReceiptsSchema,
  ReplicateRequestSchema,
  type RoutedEnvelope,
  RoutedEnvelopeSchema,
  type Row,
  RowSchema,
  type Rows,
  RowsSchema,
  type SnapshotPage,
  SnapshotPageSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { type SignedRecord, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { ProtoReader, UnusualMessage, WIRE_LENGTH, WIRE_VARINT } from '../../../wire/proto-reader.ts'

const EMPTY = new Uint8Array()
const MAX_UINT32 = 0xffff_ffff

/**
 * The frames of a ReplicateRequest or ReplicateResponse, which look alike. What there is much of (rows, envelopes, receipts) is
 * read by hand, in less than half of the time; the rest, and whatever is unusual, is left to protobuf-es. Byte fields are views of the
 * message, which is large: who keeps one copies it.
 * @throws MeshError INVALID_ARGUMENT when `bytes` are no such message.
 */
export function decodeMessage(bytes: Uint8Array): Frame[] {
  try {
    return readFrames(bytes)
  } catch (error) {
    if (!(error instanceof UnusualMessage)) return malformed(error)
  }
  try {
    return fromBinary(ReplicateRequestSchema, bytes).frames
  } catch (error) {
    return malformed(error)
  }
}

function malformed(cause: unknown): never {
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'what came is not a protobuf message of Replicate', { cause })
}

function readFrames(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = []
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field !== 1) reader.skip()
    else {
      const length = spanOf(reader)
      frames.push(readFrame(bytes, reader.valueAt, reader.valueAt + length))
    }
  }
  return frames
}

function readFrame(bytes: Uint8Array, start: number, end: number): Frame {
  const reader = new ProtoReader(bytes, start, end)
  const isMessage = reader.next() && reader.wireType === WIRE_LENGTH
  const { field } = reader
  const content = isMessage ? reader.message() : undefined
  // A frame with a second field is unusual: the last one counts.
  const frame = content === undefined || !reader.isAtEnd ? undefined : readContent(field, content)
  if (frame !== undefined) return { $typeName: FrameSchema.typeName, frame }
  // A copy: some of the others are kept.
  return fromBinary(FrameSchema, bytes.slice(start, end))
}

function readContent(field: number, reader: ProtoReader): Frame['frame'] | undefined {
  if (field === 3) return { case: 'rows', value: readRows(reader) }
  if (field === 6) {
    const value = { $typeName: EnvelopesSchema.typeName, envelopes: readRepeated(reader, readEnvelope) }
    return { case: 'envelopes', value }
  }
  if (field === 7) {
    const value = { $typeName: ReceiptsSchema.typeName, receipts: readRepeated(reader, readReceipt) }
    return { case: 'receipts', value }
  }
  return undefined
}

/** A message with nothing but a repeated field 1. */
function readRepeated<T>(reader: ProtoReader, read: (reader: ProtoReader) => T): T[] {
  const items: T[] = []
  while (reader.next()) {
    if (reader.field === 1) items.push(read(messageOf(reader)))
    else reader.skip()
  }
  return items
}

function readEnvelope(reader: ProtoReader): RoutedEnvelope {
  let envelope: Uint8Array = EMPTY
  let attempt = 0n
  let destination: Uint8Array = EMPTY
  while (reader.next()) {
    const { field } = reader
    if (field === 1) envelope = bytesOf(reader)
    else if (field === 2) attempt = uint64Of(reader)
    else if (field === 3) destination = bytesOf(reader)
    else reader.skip()
  }
  return { $typeName: RoutedEnvelopeSchema.typeName, envelope, attempt, destination }
}

function readReceipt(reader: ProtoReader): Receipt {
  const receipt: Receipt = { $typeName: ReceiptSchema.typeName, attempt: 0n, status: 0 }
  while (reader.next()) {
    const { field } = reader
    if (field === 1) receipt.attempt = uint64Of(reader)
    else if (field === 2) receipt.status = uint32Of(reader) as OutcomeStatus
    // Of a message that comes twice, the parts are merged.
    else if (field === 3 && receipt.error === undefined) receipt.error = fromBinary(ErrorDetailSchema, bytesOf(reader))
    else if (field === 3) throw new UnusualMessage()
    else reader.skip()
  }
  return receipt
}

function readRows(reader: ProtoReader): Rows {
  const rows: Rows = {
    $typeName: RowsSchema.typeName,
    origin: EMPTY,
    epoch: 0n,
    fromSeq: 0n,
    toSeq: 0n,
    rows: [],
  }
  while (reader.next()) {
    const { field } = reader
    if (field === 6) rows.rows.push(readRow(messageOf(reader)))
    else if (field === 1) rows.origin = bytesOf(reader)
    else if (field === 2) rows.epoch = uint64Of(reader)
    else if (field === 3) rows.fromSeq = uint64Of(reader)
    else if (field === 4) rows.toSeq = uint64Of(reader)
    else if (field === 5 && rows.snapshot === undefined) rows.snapshot = readPage(messageOf(reader))
    else if (field === 5) throw new UnusualMessage()
    else reader.skip()
  }
  return rows
}

function readPage(reader: ProtoReader): SnapshotPage {
  const page: SnapshotPage = { $typeName: SnapshotPageSchema.typeName, snapshotId: 0n, page: 0, pageCount: 0 }
  while (reader.next()) {
    const { field } = reader
    if (field === 1) page.snapshotId = uint64Of(reader)
    else if (field === 2) page.page = uint32Of(reader)
    else if (field === 3) page.pageCount = uint32Of(reader)
    else reader.skip()
  }
  return page
}

function readRow(reader: ProtoReader): Row {
  let topic: Uint8Array = EMPTY
  let peerKey: Uint8Array = EMPTY
  let sessionOrder = 0n
  let gone = false
  let reason = 0
  let record: SignedRecord | undefined
  while (reader.next()) {
    const { field } = reader
    if (field === 1) topic = bytesOf(reader)
    else if (field === 2) peerKey = bytesOf(reader)
    else if (field === 3) sessionOrder = uint64Of(reader)
    else if (field === 4) gone = uint64Of(reader) !== 0n
    else if (field === 5) reason = uint32Of(reader)
    else if (field === 6 && record === undefined) record = readSigned(messageOf(reader))
    else if (field === 6) throw new UnusualMessage()
    else reader.skip()
  }
  const row: Row = {
    $typeName: RowSchema.typeName,
    topic,
    peerKey,
    sessionOrder,
    gone,
    reason: reason as DepartureReason,
  }
  if (record !== undefined) row.record = record
  return row
}

function readSigned(reader: ProtoReader): SignedRecord {
  let record: Uint8Array = EMPTY
  let signature: Uint8Array = EMPTY
  while (reader.next()) {
    if (reader.field === 1) record = bytesOf(reader)
    else if (reader.field === 2) signature = bytesOf(reader)
    else reader.skip()
  }
  return { $typeName: SignedRecordSchema.typeName, record, signature }
}

function spanOf(reader: ProtoReader): number {
  if (reader.wireType !== WIRE_LENGTH) throw new UnusualMessage()
  return reader.span()
}

function bytesOf(reader: ProtoReader): Uint8Array {
  if (reader.wireType !== WIRE_LENGTH) throw new UnusualMessage()
  return reader.bytes()
}

function messageOf(reader: ProtoReader): ProtoReader {
  if (reader.wireType !== WIRE_LENGTH) throw new UnusualMessage()
  return reader.message()
}

function uint64Of(reader: ProtoReader): bigint {
  if (reader.wireType !== WIRE_VARINT) throw new UnusualMessage()
  return reader.uint64()
}

function uint32Of(reader: ProtoReader): number {
  if (reader.wireType !== WIRE_VARINT) throw new UnusualMessage()
  const value = reader.varint()
  if (value > MAX_UINT32) throw new UnusualMessage()
  return value
}
