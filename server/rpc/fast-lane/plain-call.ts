import { isHttp2, type NodeRequest, pathOf } from '../../http/request.ts'

/** How the messages of a call are framed, and how it ends. */
export type Framing = 'grpc' | 'grpc-web' | 'connect-stream' | 'connect-unary'

/** A call that the fast lane can serve. */
export interface PlainCall {
  readonly rpc: 'SendMessage' | 'Subscribe' | 'Exchange'
  readonly framing: Framing
  readonly contentType: string
}

const HOT_CALLS: ReadonlyMap<string, PlainCall['rpc']> = new Map([
  ['/mesh.signal.v1.SignalService/SendMessage', 'SendMessage'],
  ['/mesh.signal.v1.SignalService/Subscribe', 'Subscribe'],
  ['/mesh.signal.v1.SignalService/Exchange', 'Exchange'],
])

/** Binary content types by framing. The response repeats the request's type, as Connect's handlers do. */
const FRAMINGS: ReadonlyMap<string, Framing> = new Map([
  ['application/grpc', 'grpc'],
  ['application/grpc+proto', 'grpc'],
  ['application/grpc-web', 'grpc-web'],
  ['application/grpc-web+proto', 'grpc-web'],
  ['application/connect+proto', 'connect-stream'],
  ['application/proto', 'connect-unary'],
])

/** Headers that make a call unusual: deadlines, compression, and a Connect version other than the one there is. */
const DEADLINES = ['grpc-timeout', 'connect-timeout-ms'] as const
const ENCODINGS = ['grpc-encoding', 'connect-content-encoding', 'content-encoding'] as const

/**
 * The call, when it is one of the hot ones in its plain form: POST, binary protobuf, no compression, no deadline. Everything
 * else is undefined, and Connect serves it.
 */
export function plainCall(request: NodeRequest): PlainCall | undefined {
  const rpc = HOT_CALLS.get(pathOf(request))
  if (rpc === undefined || request.method !== 'POST') return undefined
  const { headers } = request
  const contentType = headers['content-type'] ?? ''
  const framing = FRAMINGS.get(contentType)
  if (framing === undefined || !fits(rpc, framing, isHttp2(request))) return undefined
  if (DEADLINES.some((name) => headers[name] !== undefined)) return undefined
  if (ENCODINGS.some((name) => (headers[name] ?? 'identity') !== 'identity')) return undefined
  if ((headers['connect-protocol-version'] ?? '1') !== '1') return undefined
  return { rpc, framing, contentType }
}

function fits(rpc: PlainCall['rpc'], framing: Framing, http2: boolean): boolean {
  // gRPC ends with HTTP trailers and Exchange needs both directions at once: HTTP/2 only.
  if ((framing === 'grpc' || rpc === 'Exchange') && !http2) return false
  if (framing === 'connect-unary') return rpc === 'SendMessage'
  return framing !== 'connect-stream' || rpc !== 'SendMessage'
}
