import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { describeCause, type Logger } from '../ops/log.ts'

/** The status code of each reason; what is not listed is a refusal on the state of things: FAILED_PRECONDITION. */
const CODES: ReadonlyMap<ErrorReason, Code> = new Map([
  [ErrorReason.INVALID_ARGUMENT, Code.InvalidArgument],
  [ErrorReason.INTERNAL, Code.Internal],
  [ErrorReason.NOT_SUPPORTED, Code.Unimplemented],
  [ErrorReason.DRAINING, Code.Unavailable],
  [ErrorReason.LIMIT_EXCEEDED, Code.ResourceExhausted],
  [ErrorReason.DEADLINE_EXCEEDED, Code.DeadlineExceeded],
  [ErrorReason.ABORTED, Code.Canceled],
  [ErrorReason.UNREACHABLE, Code.Unavailable],
  [ErrorReason.CHALLENGE_INVALID, Code.Unauthenticated],
  [ErrorReason.CHALLENGE_EXPIRED, Code.Unauthenticated],
  [ErrorReason.CHALLENGE_USED, Code.Unauthenticated],
  [ErrorReason.ORIGIN_MISMATCH, Code.Unauthenticated],
  [ErrorReason.SERVER_KEY_MISMATCH, Code.Unauthenticated],
  [ErrorReason.SIGNATURE_INVALID, Code.Unauthenticated],
  [ErrorReason.KEY_INVALID, Code.InvalidArgument],
  [ErrorReason.TOKEN_MISSING, Code.Unauthenticated],
  [ErrorReason.TOKEN_INVALID, Code.Unauthenticated],
  [ErrorReason.TOKEN_EXPIRED, Code.Unauthenticated],
  [ErrorReason.SESSION_UNKNOWN, Code.Unauthenticated],
  [ErrorReason.SESSION_CLOSED, Code.Unauthenticated],
  [ErrorReason.SESSION_REPLACED, Code.Aborted],
  [ErrorReason.RECORD_STALE, Code.Aborted],
  [ErrorReason.RECORD_EQUIVOCATION, Code.Aborted],
  [ErrorReason.NOT_MEMBER, Code.PermissionDenied],
  [ErrorReason.CURSOR_INVALID, Code.OutOfRange],
])

/** Codes a client caused; everything else is the server's own failure and is logged. */
const FIRST_RECORD_REASON = ErrorReason.RECORD_MALFORMED
const LAST_RECORD_REASON = ErrorReason.RECORD_CRITICAL

/** The status code an error travels under. */
export function codeOf(reason: ErrorReason): Code {
  const code = CODES.get(reason)
  if (code !== undefined) return code
  const aboutRecord = reason >= FIRST_RECORD_REASON && reason <= LAST_RECORD_REASON
  return aboutRecord ? Code.InvalidArgument : Code.FailedPrecondition
}

/** A MeshError as Connect sends it: code, message and the typed detail. The cause stays here. */
export function connectError(error: MeshError): ConnectError {
  return new ConnectError(error.message, codeOf(error.reason), undefined, [
    { desc: ErrorDetailSchema, value: error.toDetail() },
  ])
}

/**
 * Whatever was thrown, as the one error type. What is neither ours nor Connect's is a fault: the client hears INTERNAL, the log
 * has the cause.
 */
export function publicError(thrown: unknown, log: Logger): MeshError | ConnectError {
  if (thrown instanceof ConnectError) return thrown
  const error = MeshError.from(thrown)
  if (error.reason !== ErrorReason.INTERNAL) return error
  log('error', 'internal_error', describeCause(error.cause ?? error))
  return new MeshError(ErrorReason.INTERNAL, 'the server failed; its log says why')
}

/** `publicError`, ready for Connect. */
export function toConnectError(thrown: unknown, log: Logger): ConnectError {
  const error = publicError(thrown, log)
  return error instanceof ConnectError ? error : connectError(error)
}
