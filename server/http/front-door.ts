import type { ServerHttp2Session } from 'node:http2'
import type { AccessPolicy } from './access-policy.ts'
import { authorityOf } from './authority.ts'
import type { Call } from './call.ts'
import type { ConnectionGuard } from './connection-guard.ts'
import {
  cutRequest,
  isHttp2,
  type NodeHandler,
  type NodeRequest,
  type NodeResponse,
  pathOf,
  respondText,
} from './request.ts'

/** Serves a request that is a call, or returns false. */
export type CallLane = (request: NodeRequest, response: NodeResponse, call: Call) => boolean

/** A page for operators and their programs, made when somebody asks. */
export interface OperatorPage {
  readonly contentType: string
  text(): string
}

export interface FrontDoorOptions {
  readonly policy: AccessPolicy
  readonly guard: ConnectionGuard
  /** Tried in order. */
  readonly lanes: readonly CallLane[]
  /** What operators read, by path. Empty when it is not served. */
  readonly pages: ReadonlyMap<string, OperatorPage>
  /** HTTP/2: the limit is announced in SETTINGS, but nothing enforces it before the client has acknowledged them. */
  readonly maxHeaderBytes: number
  readonly trustedProxies: number
  readonly fallback: NodeHandler | undefined
  readonly onRefused: (why: 'host' | 'origin') => void
}

/**
 * What every request passes, in this order: the Host allow-list, the Origin allow-list, CORS (preflights end here), the
 * calls, the pages for operators, and what the program around the server wants to serve.
 */
export function frontDoor(options: FrontDoorOptions): NodeHandler {
  const { policy, guard, lanes, pages, fallback, maxHeaderBytes, onRefused } = options
  return (request, response) => {
    // A response whose client is gone fails to write; its handler learns it from 'close'.
    response.on('error', () => {})
    const connection = guard.enter(request, response)
    if (isHttp2(request) && headerBytes(request) > maxHeaderBytes) {
      respondText(response, 431, `The header list is larger than ${maxHeaderBytes} bytes.`)
      return
    }
    const refusal = policy.refusal(request)
    if (refusal !== undefined) {
      onRefused(refusal)
      if (refusal === 'host') respondText(response, 421, 'This server does not answer for that host.')
      else respondText(response, 403, 'Pages of that origin may not call this server.')
      return
    }
    policy.writeHeaders(request, response)
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      policy.respondPreflight(response)
      return
    }
    const markAuthenticated = (): void => {
      if (connection !== undefined) connection.authenticated = true
    }
    const call = describeCall(request, options.trustedProxies, markAuthenticated)
    if (lanes.some((lane) => lane(request, response, call))) return
    const page = request.method === 'GET' ? pages.get(pathOf(request)) : undefined
    if (page !== undefined) {
      response.setHeader('content-type', page.contentType)
      response.end(page.text())
      return
    }
    if (fallback !== undefined) fallback(request, response)
    else respondText(response, 404, 'This is a MESH signaling server; there is no page here.')
  }
}

/** Size of a header list as HTTP/2 counts it: names, values and 32 bytes each (RFC 9113, section 10.5.1). */
function headerBytes(request: NodeRequest): number {
  let bytes = 0
  for (const text of request.rawHeaders) bytes += text.length + 16
  return bytes
}

function describeCall(request: NodeRequest, trustedProxies: number, markAuthenticated: () => void): Call {
  let isNeighbour = false
  return {
    authority: authorityOf(request),
    encrypted: 'encrypted' in request.socket && request.socket.encrypted === true,
    remoteAddress: clientAddress(request, trustedProxies),
    authorization: request.headers.authorization,
    markAuthenticated,
    markNeighbour: () => {
      isNeighbour = true
      markAuthenticated()
    },
    isNeighbour: () => isNeighbour,
    session: isHttp2(request) ? (request.stream.session as ServerHttp2Session) : undefined,
    cut: () => cutRequest(request),
  }
}

/** The address of the client: the connection's own, or what the outermost trusted proxy saw. */
function clientAddress(request: NodeRequest, trustedProxies: number): string {
  const own = request.socket.remoteAddress ?? ''
  if (trustedProxies === 0) return own
  const forwarded = [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',')
  return forwarded.at(-trustedProxies)?.trim() || own
}
