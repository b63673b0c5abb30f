import { isHttp2, type NodeRequest, pathOf } from '../../http/request.ts'

/** How the messages of a call are framed, and how it ends. */
export type Framing = 'grpc' | 'grpc-web' | 'connect-stream' | 'connect-unary'

/** How a call travels in its plain form. */
export interface PlainForm {
  readonly framing: Framing
  readonly contentType: string
}

/** A call that the fast lane can serve. */
export interface PlainCall extends PlainForm {
  readonly rpc: 'SendMessage' | 'Subscribe' | 'Exchange'
}

const HOT_CALLS: ReadonlyMap<string, PlainCall['rpc']> = new Map([
  ['/mesh.signal.v1.SignalService/SendMessage', 'SendMessage'],
  ['/mesh.signal.v1.SignalService/Subscribe', 'Subscribe'],
  ['/mesh.signal.v1.SignalService/Exchange', 'Exchange'],
])

const REPLICATE = '/mesh.federation.v1.FederationService/Replicate'

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
  const form = rpc === undefined ? undefined : plainForm(request)
  if (rpc === undefined || form === undefined || !fits(rpc, form.framing, isHttp2(request))) return undefined
  return { rpc, ...form }
}

/** The same for Replicate, of which only gRPC is plain. */
export function plainReplicate(request: NodeRequest): PlainForm | undefined {
  if (pathOf(request) !== REPLICATE || !isHttp2(request)) return undefined
  const form = plainForm(request)
  return form?.framing === 'grpc' ? form : undefined
}

function plainForm({ method, headers }: NodeRequest): PlainForm | undefined {
  const contentType = headers['content-type'] ?? ''
  const framing = FRAMINGS.get(contentType)
  if (framing === undefined || method !== 'POST') return undefined
  if (DEADLINES.some((name) => headers[name] !== undefined)) return undefined
  if (ENCODINGS.some((name) => (headers[name] ?? 'identity') !== 'identity')) return undefined
  if ((headers['connect-protocol-version'] ?? '1') !== '1') return undefined
  return { framing, contentType }
}

function fits(rpc: PlainCall['rpc'], framing: Framing, http2: boolean): boolean {
  // gRPC ends with HTTP trailers and Exchange needs both directions at once: HTTP/2 only.
  if ((framing === 'grpc' || rpc === 'Exchange') && !http2) return false
  if (framing === 'connect-unary') return rpc === 'SendMessage'
  return framing !== 'connect-stream' || rpc !== 'SendMessage'
}
