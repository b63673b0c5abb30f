import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Random } from '@mesh/core'
import {
  type Frame,
  FrameSchema,
  type OriginState,
  OriginStateSchema,
  type Row,
  RowSchema,
  type Rows,
  RowsSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** A row of one server, and where its log is. */
export interface OthersRow {
  readonly origin: Uint8Array
  readonly epoch: bigint
  readonly head: bigint
  readonly topic: Uint8Array
  readonly peerKey: Uint8Array
}

/** As if the origin of a row had taken it away. */
export function forgedRows({ origin, epoch, head, topic, peerKey }: OthersRow): Frame {
  const row = create(RowSchema, { topic, peerKey, gone: true, reason: DepartureReason.LEFT })
  const seq = head + 1n
  return rowsFrame(create(RowsSchema, { origin, epoch, fromSeq: seq, toSeq: seq, rows: [row] }))
}

/** A state that its origin did not make: later than the one that it signed. */
export function forgedState(state: OriginState): Frame | undefined {
  const { signed } = state
  if (signed === undefined) return undefined
  const { $typeName: _, ...fields } = fromBinary(OriginStateSchema, signed.statement)
  const statement = toBinary(OriginStateSchema, create(OriginStateSchema, { ...fields, beat: fields.beat + 100n }))
  const value = { ...state, signed: { ...signed, statement } }
  return create(FrameSchema, { frame: { case: 'originState', value } })
}

/**
 * As a bug between a log and a table might: one of the rows has no effect. An entry of the log gives way to one that takes
 * away what nobody has; a page of a snapshot is one row short.
 */
export function withRowLost(rows: Rows, random: Random): Frame {
  const at = Math.floor(random.uniform() * rows.rows.length)
  if (rows.snapshot === undefined) {
    return rowsFrame({ ...rows, rows: rows.rows.map((row, i) => (i === at ? withoutEffect(row) : row)) })
  }
  // An empty page is one of a snapshot that has no other.
  if (rows.rows.length < 2 && rows.snapshot.pageCount > 1) return rowsFrame(rows)
  return rowsFrame({ ...rows, rows: rows.rows.filter((_, i) => i !== at) })
}

function withoutEffect({ topic }: Row): Row {
  return create(RowSchema, { topic, peerKey: NOBODY, gone: true, reason: DepartureReason.EXPIRED })
}

const NOBODY = new Uint8Array(32).fill(0xee)

function rowsFrame(value: Rows): Frame {
  return create(FrameSchema, { frame: { case: 'rows', value } })
}
