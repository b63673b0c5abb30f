import { ConnectError } from '@connectrpc/connect'
import { MeshError } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'

/** The typed error of a call that must fail, with the status code's name beside it. */
export async function refusalOf(call: Promise<unknown>): Promise<MeshError & { readonly code: number }> {
  try {
    await call
  } catch (thrown) {
    const error = ConnectError.from(thrown)
    const [detail] = error.findDetails(ErrorDetailSchema)
    if (detail === undefined) throw new Error(`no ErrorDetail in: ${error.message}`, { cause: thrown })
    return Object.assign(MeshError.fromDetail(detail, error.rawMessage), { code: error.code })
  }
  throw new Error('the call was not refused')
}
