import { Code } from '@connectrpc/connect'
import { type CallStream, lost } from '../../backplane/federation/trunk/call-stream.ts'
import { decodeMessage } from '../../backplane/federation/trunk/message-decoder.ts'
import { encodeMessage } from '../../backplane/federation/trunk/message-encoder.ts'
import { PieceWriter } from '../../backplane/federation/trunk/piece-writer.ts'
import type { AcceptReplicate } from '../../backplane/federation/trunk/replicate-trunk.ts'
import type { Call } from '../../http/call.ts'
import type { CallLane } from '../../http/front-door.ts'
import { declaredBytes, type NodeRequest, type NodeResponse } from '../../http/request.ts'
import { resetAfterEnd } from '../../http/reset-after-end.ts'
import { toConnectError } from '../errors.ts'
import type { SignalCore } from '../operations/signal-core.ts'
import { type PlainForm, plainReplicate } from './plain-call.ts'
import { Reply } from './reply.ts'
import { RequestBody } from './request-body.ts'

type Core = Pick<SignalCore, 'limits' | 'clock' | 'metrics' | 'log'>

/**
 * Replicate in its plain form, gRPC without compression or deadline, with the same bytes on the wire and without Connect's
 * machinery per message. Everything else is left to the full lane, and everything of a server that stands alone.
 * `accept`: `ReplicateTrunk.accept`.
 */
export function replicateLane(core: Core, accept: AcceptReplicate | undefined): CallLane {
  return (request, response, call) => {
    const plain = accept && plainReplicate(request)
    if (accept === undefined || plain === undefined) return false
    core.metrics.lanes.add('fast')
    resetAfterEnd(response)
    serve(core, accept, { request, response, call, plain })
    return true
  }
}

interface Served {
  readonly request: NodeRequest
  readonly response: NodeResponse
  readonly call: Call
  readonly plain: PlainForm
}

function serve(
  { limits, clock, metrics, log }: Core,
  accept: AcceptReplicate,
  { request, response, call, plain }: Served,
): void {
  const reply = new Reply(response, plain)
  const writer = new PieceWriter({ limits, onDrain: () => stream?.drained() })
  let stream: CallStream | undefined
  const finish = (thrown: unknown): void => {
    const error = thrown === undefined ? undefined : toConnectError(thrown, log)
    metrics.calls.add(error === undefined ? 'ok' : error.code === Code.Internal ? 'failed' : 'refused')
    reply.finish(error)
    stream?.sent()
  }
  const meter = { limits, clock, framed: true, endless: true, declaredBytes: declaredBytes(request) }
  const body = new RequestBody(
    request,
    { ...meter, isNeighbour: call.isNeighbour },
    {
      onMessage: (message) => {
        if (stream?.receive(decodeMessage(message)) !== true) body.stop()
      },
      onEnd: () => stream?.received(),
      onFailure: (error) => stream?.received(error),
    },
  )
  response.once('close', () => {
    body.stop()
    stream?.received(lost())
    stream?.sent()
  })
  writer.open({ write: (piece, done) => void reply.write(piece, done), end: finish })
  try {
    stream = accept(
      { proven: call.markNeighbour, cut: call.cut, session: call.session },
      { write: (frames) => writer.write(encodeMessage(frames)), end: (error) => writer.end(error) },
    )
  } catch (error) {
    finish(error)
    return
  }
  body.start()
}
