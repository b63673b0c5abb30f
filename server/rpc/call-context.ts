import { createContextKey, type HandlerContext } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import type { Call } from '../http/call.ts'

/** Where the adapter puts the call for the handlers. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: 'the call as the listener saw it' })

/** The call a handler serves. */
export function callOf(context: HandlerContext): Call {
  const call = context.values.get(callKey)
  if (call === undefined)
    throw new MeshError(ErrorReason.INTERNAL, 'the call came by an adapter that did not describe it')
  return call
}
