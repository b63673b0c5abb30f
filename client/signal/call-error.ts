import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'

/**
 * Turns what a call threw into a MeshError. The server's typed detail decides; an error without one came from the network
 * or from something between (a proxy), and is worth another try.
 */
export function fromCallError(error: unknown, origin: string, aborted?: AbortSignal): MeshError {
  if (error instanceof MeshError) return error
  if (aborted?.aborted) {
    return aborted.reason instanceof MeshError
      ? aborted.reason
      : new MeshError(ErrorReason.ABORTED, `call to ${origin} was aborted`, { cause: aborted.reason })
  }
  const connectError = ConnectError.from(error)
  const [detail] = connectError.findDetails(ErrorDetailSchema)
  if (detail) return MeshError.fromDetail(detail, connectError.rawMessage)
  if (connectError.code === Code.DeadlineExceeded) {
    return new MeshError(ErrorReason.DEADLINE_EXCEEDED, `call to ${origin} timed out`, {
      retryable: true,
      cause: error,
    })
  }
  return new MeshError(ErrorReason.UNREACHABLE, `${origin} cannot be reached: ${connectError.rawMessage}`, {
    retryable: true,
    cause: error,
  })
}
