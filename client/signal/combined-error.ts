import { ErrorReason, MeshError } from '@mesh/core'

/** What failed at one server. */
export interface ServerFailure {
  readonly origin: string
  readonly error: MeshError
}

/**
 * One error for what failed at every server: the error itself when there is one server, otherwise one that names each. Its
 * reason is the most telling one, and the errors are its cause (an AggregateError, in the order of the servers).
 */
export function combineFailures(failures: readonly ServerFailure[]): MeshError {
  const errors = failures.map(({ error }) => error)
  const telling = mostTelling(errors)
  if (failures.length <= 1) return telling
  const each = failures.map(({ origin, error }) => `${origin}: ${error.message}`).join('; ')
  const message = `none of the ${failures.length} signaling servers can be used: ${each}`
  return new MeshError(telling.reason, message, {
    retryable: errors.some(({ retryable }) => retryable),
    retryAfterMs: Math.min(...errors.map(({ retryAfterMs }) => retryAfterMs)),
    cause: new AggregateError(errors, message),
  })
}

/** The first error that says more than that nobody answered. */
export function mostTelling(errors: readonly MeshError[]): MeshError {
  const telling = errors.find(({ reason }) => reason !== ErrorReason.UNREACHABLE) ?? errors[0]
  return telling ?? new MeshError(ErrorReason.UNREACHABLE, 'there is no signaling server to ask')
}
