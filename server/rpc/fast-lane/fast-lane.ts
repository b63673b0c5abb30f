import { Code } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import type { Call } from '../../http/call.ts'
import type { CallLane } from '../../http/front-door.ts'
import { declaredBytes, isHttp2, type NodeRequest, type NodeResponse } from '../../http/request.ts'
import { resetAfterEnd } from '../../http/reset-after-end.ts'
import { EnvelopeKeys } from '../../router/envelope-reader.ts'
import type { RequestOutcomes } from '../../router/outcome.ts'
import type { Session } from '../../session/session.ts'
import { toConnectError } from '../errors.ts'
import { type Authenticated, authenticate } from '../operations/authenticate.ts'
import { noEnvelopes, routeAll } from '../operations/messages.ts'
import type { SignalCore } from '../operations/signal-core.ts'
import { type PlainCall, plainCall } from './plain-call.ts'
import { Reply } from './reply.ts'
import { type BodyListener, RequestBody } from './request-body.ts'
import { type FastRequest, readExchange, readSendMessage, readSubscribe } from './requests.ts'
import { encodeOutcome, encodeOutcomes } from './responses.ts'
import { StreamWriter } from './stream-writer.ts'

/** Outcomes of one Exchange that wait to be written; beyond, the server reads no further envelopes. 16 full requests. */
const MAX_PENDING_OUTCOMES = 1_024

/**
 * The same calls with the same bytes on the wire, without Connect's machinery per message: SendMessage, Subscribe and
 * Exchange in their plain form. Envelopes are forwarded as they came (only the routing fields are read), and one turn of the
 * event loop is one write. Authentication, limits and routing are the functions that the full lane calls.
 */
export function fastLane(core: SignalCore): CallLane {
  return (request, response, call) => {
    const plain = plainCall(request)
    if (plain === undefined) return false
    core.metrics.lanes.add('fast')
    if (plain.rpc === 'Exchange') resetAfterEnd(response)
    new FastCall(core, request, response, call, plain).start()
    return true
  }
}

/** One call in the fast lane. */
class FastCall {
  readonly #core: SignalCore
  readonly #request: NodeRequest
  readonly #response: NodeResponse
  readonly #call: Call
  readonly #plain: PlainCall
  readonly #reply: Reply
  readonly #body: RequestBody
  readonly #keys = new EnvelopeKeys()
  #auth: Authenticated | undefined
  #writer: StreamWriter | undefined
  /** Requests, in their order, of which another server has not answered all, and those behind them. */
  readonly #unanswered: RequestOutcomes[] = []

  constructor(core: SignalCore, request: NodeRequest, response: NodeResponse, call: Call, plain: PlainCall) {
    this.#core = core
    this.#request = request
    this.#response = response
    this.#call = call
    this.#plain = plain
    this.#reply = new Reply(response, plain)
    const meter = {
      limits: core.limits,
      clock: core.clock,
      framed: plain.framing !== 'connect-unary',
      endless: plain.rpc === 'Exchange',
      declaredBytes: declaredBytes(request),
    }
    this.#body = new RequestBody(request, meter, this.#listener())
  }

  start(): void {
    this.#response.once('close', () => this.#body.stop())
    try {
      this.#auth = authenticate(this.#core, this.#call, this.#plain.rpc === 'SendMessage' ? 'finish' : 'begin')
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#body.start()
  }

  #listener(): BodyListener {
    const onFailure = (error: unknown): void => {
      if (error instanceof MeshError && !isHttp2(this.#request) && !this.#response.headersSent) {
        // The rest of the body is still on its way: nothing else can follow it on this connection.
        this.#response.setHeader('connection', 'close')
      }
      this.#fail(error)
    }
    if (this.#plain.rpc === 'Exchange') {
      return { onMessage: (message) => this.#onExchange(readExchange(message, this.#keys)), onEnd: () => {}, onFailure }
    }
    let only: Uint8Array | undefined
    const onMessage = (message: Uint8Array): void => {
      if (only !== undefined) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'this call takes one message, got two')
      only = message
    }
    return { onMessage, onEnd: () => this.#run(only), onFailure }
  }

  #run(message: Uint8Array | undefined): void {
    if (message === undefined) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the request has no message')
    if (this.#plain.rpc === 'Subscribe') this.#openStream(readSubscribe(message))
    else this.#sendMessage(message)
  }

  #sendMessage(message: Uint8Array): void {
    const { session } = this.#auth as Authenticated
    const envelopes = readSendMessage(message, this.#keys)
    if (envelopes.length === 0) throw noEnvelopes()
    routeAll(this.#core, session, envelopes).whenComplete((outcomes) => {
      this.#guarded(() => {
        this.#reply.finishUnary(encodeOutcomes(outcomes.map(encodeOutcome)))
        this.#core.metrics.calls.add('ok')
      })
    })
  }

  #onExchange(request: FastRequest): void {
    const { session } = this.#auth as Authenticated
    const writer = this.#writer ?? this.#openStream(request.cursor)
    if (request.acknowledged > 0) writer.stream.acknowledge(request.acknowledged)
    if (request.envelopes.length > 0) this.#route(session, request, writer)
    if (writer.pendingOutcomes + this.#unanswered.length >= MAX_PENDING_OUTCOMES) this.#body.pause()
  }

  /** Outcomes keep the order of the envelopes, also when some of them are with another server. */
  #route(session: Session, request: FastRequest, writer: StreamWriter): void {
    const routed = routeAll(this.#core, session, request.envelopes)
    this.#unanswered.push(routed)
    routed.whenComplete(() => this.#guarded(() => this.#writeOutcomes(writer)))
  }

  #writeOutcomes(writer: StreamWriter): void {
    for (let next = this.#unanswered[0]?.all; next !== undefined; next = this.#unanswered[0]?.all) {
      this.#unanswered.shift()
      writer.addOutcomes(next.map(encodeOutcome))
    }
  }

  #openStream(cursor: bigint): StreamWriter {
    const { session, tokenExpiresAtMs } = this.#auth as Authenticated
    const { clock, limits } = this.#core
    this.#writer = new StreamWriter(session, cursor, tokenExpiresAtMs, {
      reply: this.#reply,
      response: this.#response,
      call: this.#call,
      clock,
      streamEndMs: limits.streamEndMs,
      onFlushed: () => this.#body.resume(),
    })
    return this.#writer
  }

  /** Whoever brings an outcome has nothing to do with what becomes of it here. */
  #guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(thrown: unknown): void {
    const error = toConnectError(thrown, this.#core.log)
    this.#core.metrics.calls.add(error.code === Code.Internal ? 'failed' : 'refused')
    this.#body.stop()
    this.#writer?.close()
    this.#reply.finish(error)
    this.#cutUnlessClosed()
  }

  /** A client that goes on sending after the status came does not keep the stream. */
  #cutUnlessClosed(): void {
    if (this.#plain.rpc !== 'Exchange') return
    const cut = this.#core.clock.schedule(this.#core.limits.streamEndMs, this.#call.cut)
    this.#response.once('close', () => cut.cancel())
  }
}
