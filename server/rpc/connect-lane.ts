import { type ConnectRouter, createConnectRouter, createContextValues, type Interceptor } from '@connectrpc/connect'
import type { UniversalHandler } from '@connectrpc/connect/protocol'
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node'
import { MeshError } from '@mesh/core'
import type { Call } from '../http/call.ts'
import type { CallLane } from '../http/front-door.ts'
import { meterBody } from '../http/metered-body.ts'
import { declaredBytes, isHttp2, type NodeRequest, type NodeResponse, pathOf } from '../http/request.ts'
import { resetAfterEnd } from '../http/reset-after-end.ts'
import { inPieces } from '../http2-pieces.ts'
import { callKey } from './call-context.ts'
import { connectError } from './errors.ts'
import type { SignalCore } from './operations/signal-core.ts'

export interface ConnectLaneOptions {
  readonly core: Pick<SignalCore, 'limits' | 'clock' | 'metrics'>
  readonly routes: (router: ConnectRouter) => void
  readonly interceptors: Interceptor[]
}

/**
 * The full lane: Connect's handlers behind Node's servers, for every protocol they speak. What Connect's own adapter leaves
 * open is closed here: request bodies are metered, compressed requests are not taken (sealed payloads do not shrink, and what
 * cannot be inflated cannot be a bomb), and a response that is never read can be cut.
 */
export function connectLane({ core, routes, interceptors }: ConnectLaneOptions): CallLane {
  const router = createConnectRouter({
    interceptors,
    acceptCompression: [],
    // The meter applies the one that holds for the caller, before Connect sees the bytes.
    readMaxBytes: Math.max(core.limits.maxRequestBytes, core.limits.federationMaxRequestBytes),
    writeMaxBytes: Math.max(MAX_RESPONSE_BYTES, core.limits.federationMaxRequestBytes),
    jsonOptions: { ignoreUnknownFields: true },
  })
  routes(router)
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
  return (request, response, call) => {
    const handler = handlers.get(pathOf(request))
    if (handler === undefined) return false
    core.metrics.lanes.add('full')
    // GetChallenge may come as GET; a challenge from a cache would be one that was used.
    response.setHeader('cache-control', 'no-store')
    void serve(core, handler, request, response, call)
    return true
  }
}

/** 4 MiB: a page of 64 records of 2 KiB and a batch of events of 1 MiB fit with room to spare. */
const MAX_RESPONSE_BYTES = 4 * 1_024 * 1_024

async function serve(
  core: Pick<SignalCore, 'limits' | 'clock'>,
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  call: Call,
): Promise<void> {
  const meter = {
    ...core,
    framed: isFramed(request),
    endless: handler.method.methodKind === 'bidi_streaming' || handler.method.methodKind === 'client_streaming',
    declaredBytes: declaredBytes(request),
    isNeighbour: call.isNeighbour,
  }
  if (meter.endless) resetAfterEnd(response)
  // The rest of a body that was refused is still on its way: on HTTP/1.1 nothing else can follow it.
  const onViolation = (): void => {
    if (!isHttp2(request) && !response.headersSent) response.setHeader('connection', 'close')
  }
  try {
    const contextValues = createContextValues().set(callKey, call)
    const universal = universalRequestFromNodeRequest(request, response, undefined, contextValues)
    const body = asConnectErrors(meterBody(universal.body as AsyncIterable<Uint8Array>, meter, onViolation))
    const answer = await handler({ ...universal, body })
    const pieces = meter.endless && answer.body !== undefined ? { body: inPieces(answer.body) } : {}
    await universalResponseToNodeResponse({ ...answer, ...pieces }, response)
  } catch {
    // The client went away, or the response failed half way: the handler has seen it, and the transport is useless now.
    response.destroy()
  }
}

async function* asConnectErrors(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    throw error instanceof MeshError ? connectError(error) : error
  }
}

function isFramed(request: NodeRequest): boolean {
  const type = request.headers['content-type'] ?? ''
  return type.startsWith('application/grpc') || type.startsWith('application/connect+')
}
