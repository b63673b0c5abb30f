import { ErrorReason, MeshError } from '@mesh/core'
import { type Receipt, ReceiptSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Arrival } from '../../backplane.ts'

/** What another server says of an attempt. `lost`: its stream ended before it said anything. */
export type Answer = Exclude<Arrival, 'absent'> | 'lost'

/** What this server says of an attempt of another. */
export function receiptOf(attempt: bigint, arrival: Arrival): Receipt {
  const $typeName = ReceiptSchema.typeName
  if (arrival === 'delivered') return { $typeName, attempt, status: OutcomeStatus.DELIVERED }
  if (arrival === 'held') return { $typeName, attempt, status: OutcomeStatus.HELD }
  const error = arrival === 'absent' ? notHere() : arrival
  return { $typeName, attempt, status: OutcomeStatus.REFUSED, error: error.toDetail() }
}

/** @throws MeshError INVALID_ARGUMENT when the receipt says neither what happened nor, briefly, why nothing did. */
export function answerOf({ status, error }: Receipt): Answer {
  if (status === OutcomeStatus.DELIVERED) return 'delivered'
  if (status === OutcomeStatus.HELD) return 'held'
  const isRefusal = status === OutcomeStatus.REFUSED && error !== undefined
  if (isRefusal && error.limit.length <= MAX_LIMIT_NAME) return MeshError.fromDetail(error)
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, `a receipt with status ${status} needs an error`)
}

/** The longest names of limits have about 40 characters. The rest of a receipt is numbers. */
const MAX_LIMIT_NAME = 64

/** The answer for an envelope that this server has no way to pass on. */
export function noWay(): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, 'there is no direct stream to that server')
}

function notHere(): MeshError {
  return new MeshError(ErrorReason.NOT_HERE, 'the recipient has no such session here', { retryable: true })
}
