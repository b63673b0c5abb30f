import type { ServiceImpl } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import type { FederationService } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'

/** FederationService of a server that stands alone: UNIMPLEMENTED, with a reason that says it is not a mistake. */
export function federationService(): ServiceImpl<typeof FederationService> {
  return {
    // biome-ignore lint/correctness/useYield: a stream that fails before its first message
    async *replicate() {
      throw new MeshError(ErrorReason.NOT_SUPPORTED, 'this server does not federate')
    },
  }
}
