import { fromBinary } from '@bufbuild/protobuf'
import { toHex } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { MembershipRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { EnvelopeSchema, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** What happened, in order; kept only when somebody wants to read it. */
export class Trace {
  readonly wanted: boolean
  readonly #lines: string[] = []

  constructor(wanted: boolean) {
    this.wanted = wanted
  }

  add(nowMs: number, what: string): void {
    if (!this.wanted) return
    this.#lines.push(`${nowMs.toFixed(1).padStart(10)}  ${what}`)
  }

  get lines(): readonly string[] {
    return this.#lines
  }
}

/** One frame in a few words. */
export function describeFrame({ frame }: Frame): string {
  switch (frame.case) {
    case 'hello':
      return `Hello(epoch ${shortEpoch(frame.value.epoch)}, have ${frame.value.have.map(describePosition).join(' ')})`
    case 'originState': {
      const { origin, epoch, headSeq, rowCount, beat, signed } = frame.value
      return `State(${shortKey(origin)} ${shortEpoch(epoch)}/${headSeq}, ${rowCount} rows, beat ${beat}${signed ? ', signed' : ''})`
    }
    case 'rows': {
      const { origin, epoch, fromSeq, toSeq, snapshot, rows } = frame.value
      const page = snapshot && ` snapshot ${snapshot.snapshotId} page ${snapshot.page + 1} of ${snapshot.pageCount}`
      const list = rows.map(
        ({ peerKey, gone, record }) =>
          `${gone ? '-' : '+'}${shortKey(peerKey)}${record && !gone ? `#${fromBinary(MembershipRecordSchema, record.record).seq % 100_000n}` : ''}`,
      )
      return `Rows(${shortKey(origin)} ${shortEpoch(epoch)}/${fromSeq}..${toSeq}${page ?? ''}: ${list.join(' ')})`
    }
    case 'pull':
      return `Pull(${frame.value.after === undefined ? '' : describePosition(frame.value.after)})`
    case 'envelopes':
      return `Envelopes(${frame.value.envelopes.map(({ envelope, attempt, destination }) => `${attempt}: ${toHex(fromBinary(EnvelopeSchema, envelope).id.subarray(2, 8))}${destination.length > 0 ? ` for ${shortKey(destination)}` : ''}`).join(', ')})`
    case 'receipts':
      return `Receipts(${frame.value.receipts.map(({ attempt, status, error }) => `${attempt}: ${outcomeName(status)}${error ? ` reason ${error.reason}` : ''}`).join(', ')})`
    case 'credit':
      return `Credit(${frame.value.frames})`
    default:
      return frame.case ?? 'nothing'
  }
}

/** Keys of the simulation have their number in the first byte. */
export function shortKey(key: Uint8Array): string {
  return `${key[2] === 0xc0 ? 'client' : 'server'} ${key[0]}`
}

export function outcomeName(status: OutcomeStatus): string {
  return OUTCOMES.get(status) ?? String(status)
}

const OUTCOMES: ReadonlyMap<number, string> = new Map(
  Object.entries(OutcomeStatus).map(([name, status]) => [status, name.toLowerCase()]),
)

/** Epochs are 64 bit numbers that differ in the middle: their last five hexadecimal digits, and some before. */
export function shortEpoch(epoch: bigint): string {
  return epoch.toString(16).slice(-9)
}

function describePosition({ origin, epoch, seq }: { origin: Uint8Array; epoch: bigint; seq: bigint }): string {
  return `${shortKey(origin)} ${shortEpoch(epoch)}/${seq}`
}
