import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { RecordFields } from './record-fields.ts'

/** A row to be stored: its signed record, and what is read from it all the time. */
export interface NewRow {
  readonly topic: Uint8Array
  readonly peerKey: Uint8Array
  readonly signed: SignedRecord
  readonly fields: Pick<RecordFields, 'peerAt' | 'sessionAt' | 'sessionOrder'>
}
