import { ErrorReason, type MeshError } from '@mesh/core'

/** Whether the same call would fail again for the same reason: a rule was broken, or a rate that takes time to recover. */
export function isRefusal(error: MeshError | undefined): error is MeshError {
  if (error === undefined) return false
  return !error.retryable || (error.reason === ErrorReason.LIMIT_EXCEEDED && error.retryAfterMs > 0)
}
