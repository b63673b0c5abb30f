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

export interface ReplicateLaneOptions {
  readonly core: Pick<SignalCore, 'limits' | 'clock' | 'metrics' | 'log'>
  /** `ReplicateTrunk.accept`. */
  readonly accept: AcceptReplicate
}

/**
 * Replicate in its plain form, gRPC without compression or deadline, with the same bytes on the wire and without Connect's
 * machinery per message. Everything else is left to the full lane.
 */
export function replicateLane({ core, accept }: ReplicateLaneOptions): CallLane {
  return (request, response, call) => {
    const plain = plainReplicate(request)
    if (plain === undefined) return false
    core.metrics.lanes.add('fast')
    resetAfterEnd(response)
    serve({ core, accept }, { request, response, call, plain })
    return true
  }
}

interface Served {
  readonly request: NodeRequest
  readonly response: NodeResponse
  readonly call: Call
  readonly plain: PlainForm
}

function serve({ core, accept }: ReplicateLaneOptions, { request, response, call, plain }: Served): void {
  const { limits, clock, metrics, log } = core
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
