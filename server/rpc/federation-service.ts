import type { ServiceImpl } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import type { FederationService } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { ServeReplicate } from '../backplane/federation/trunk/replicate-trunk.ts'
import { callOf } from './call-context.ts'

/**
 * FederationService. `serve` is `ReplicateTrunk.serve`; without it the server stands alone, and answers UNIMPLEMENTED with a
 * reason that says it is not a mistake.
 */
export function federationService(serve?: ServeReplicate): ServiceImpl<typeof FederationService> {
  return {
    replicate(requests, context) {
      if (serve === undefined) throw new MeshError(ErrorReason.NOT_SUPPORTED, 'this server does not federate')
      const call = callOf(context)
      return serve(requests, { proven: call.markNeighbour, cut: call.cut, session: call.session })
    },
  }
}
