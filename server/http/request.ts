import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'

/** A request of either HTTP version, as Node's two servers hand it out. */
export type NodeRequest = IncomingMessage | Http2ServerRequest
export type NodeResponse = ServerResponse | Http2ServerResponse

/** Handles a request, now or later. Must not throw. */
export type NodeHandler = (request: NodeRequest, response: NodeResponse) => void

export function isHttp2(request: NodeRequest): request is Http2ServerRequest {
  return request.httpVersionMajor === 2
}

/** The path without the query. */
export function pathOf(request: NodeRequest): string {
  return (request.url ?? '').split('?', 1)[0] as string
}

/** What the content-length header says; undefined without one. */
export function declaredBytes(request: NodeRequest): number | undefined {
  const length = Number.parseInt(request.headers['content-length'] ?? '', 10)
  return Number.isNaN(length) ? undefined : length
}

/** Answers with a line of text. */
export function respondText(response: NodeResponse, status: number, text: string): void {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' }
  // One overload of writeHead per HTTP version; the arguments are the same.
  ;(response as ServerResponse).writeHead(status, headers)
  response.end(`${text}\n`)
}

/** Cuts the transport of one request: its HTTP/2 stream, or its HTTP/1.1 connection. */
export function cutRequest(request: NodeRequest): void {
  if (!isHttp2(request)) {
    request.socket.destroy()
    return
  }
  const { stream } = request
  stream.close(constants.NGHTTP2_CANCEL)
  // On a stalled connection 'close' never comes by itself: free the stream's memory all the same.
  setImmediate(() => stream.destroy())
}
