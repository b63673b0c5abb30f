import { create } from '@bufbuild/protobuf'
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import {
  type ExchangeRequest,
  type ExchangeResponse,
  ExchangeResponseSchema,
  type Outcome,
  OutcomeSchema,
  type SignalService,
  type SubscribeRequest,
  type SubscribeResponse,
  SubscribeResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { outgoingEnvelope } from '../router/envelope.ts'
import type { EnvelopeOutcome, RequestOutcomes } from '../router/outcome.ts'
import { decodeEvent } from '../session/event-codec.ts'
import type { Session } from '../session/session.ts'
import { callOf } from './call-context.ts'
import { authenticate } from './operations/authenticate.ts'
import { join, leave, lookup } from './operations/membership.ts'
import { noEnvelopes, routeAll } from './operations/messages.ts'
import { closeSession, getChallenge, openSession } from './operations/open-session.ts'
import type { SignalCore } from './operations/signal-core.ts'
import { StreamPump } from './stream-pump.ts'

/** Outcomes of one Exchange that wait to be written; beyond, the server reads no further envelopes. 16 full requests. */
const MAX_PENDING_OUTCOMES = 1_024

/** The full lane: SignalService in every protocol, encoding and HTTP version that Connect speaks. */
export function signalService(core: SignalCore): ServiceImpl<typeof SignalService> {
  return {
    getChallenge: () => getChallenge(core),
    openSession: (request, context) => openSession(core, callOf(context), request),
    closeSession: (_request, context) => {
      closeSession(core, callOf(context))
      return {}
    },
    join: (request, context) => join(core, callOf(context), request),
    leave: (request, context) => leave(core, callOf(context), request),
    lookup: (request, context) => lookup(core, callOf(context), request),
    async sendMessage(request, context) {
      const { session } = authenticate(core, callOf(context), 'finish')
      if (request.envelopes.length === 0) throw noEnvelopes()
      const outcomes = await complete(routeAll(core, session, request.envelopes.map(outgoingEnvelope)))
      return { outcomes: outcomes.map(outcomeMessage) }
    },
    subscribe: (request, context) => subscribe(core, request, context),
    exchange: (requests, context) => exchange(core, requests, context),
  }
}

async function* subscribe(
  core: SignalCore,
  request: SubscribeRequest,
  context: HandlerContext,
): AsyncGenerator<SubscribeResponse> {
  const pump = openPump(core, request.cursor, context)
  try {
    for (;;) {
      const events = pump.take().map(decodeEvent)
      if (events.length > 0) yield create(SubscribeResponseSchema, { events })
      if (!pump.stream.isOpen && !pump.stream.hasMore) break
      await pump.ready()
    }
    throwEnding(pump)
  } finally {
    pump.close()
  }
}

/**
 * Events and outcomes out, envelopes and acknowledgements in. The two directions are independent: a client that stops
 * sending still gets its events. What one turn produced, of both kinds, is one message.
 */
async function* exchange(
  core: SignalCore,
  requests: AsyncIterable<ExchangeRequest>,
  context: HandlerContext,
): AsyncGenerator<ExchangeResponse> {
  const { session } = authenticate(core, callOf(context))
  const input = requests[Symbol.asyncIterator]()
  const first = await input.next()
  if (first.done === true) return
  const pump = openPump(core, first.value.cursor, context)
  const intake = new Intake(core, session, pump)
  const reading = intake.readAll(first.value, input)
  try {
    for (;;) {
      const events = pump.take().map(decodeEvent)
      const outcomes = intake.takeOutcomes()
      if (events.length + outcomes.length > 0) yield create(ExchangeResponseSchema, { events, outcomes })
      if (intake.failure !== undefined) throw intake.failure
      if (!pump.stream.isOpen && !pump.stream.hasMore) break
      await pump.ready()
    }
    throwEnding(pump)
  } finally {
    pump.close()
    intake.stop()
    await reading
  }
}

/** The reading half of one Exchange. */
class Intake {
  readonly #core: SignalCore
  readonly #session: Session
  readonly #pump: StreamPump
  #outcomes: Outcome[] = []
  #resume: (() => void) | undefined
  #stopped = false
  failure: unknown

  constructor(core: SignalCore, session: Session, pump: StreamPump) {
    this.#core = core
    this.#session = session
    this.#pump = pump
  }

  /** Handles requests until the client ends its half, or `stop`. Never rejects: `failure` says what went wrong. */
  async readAll(first: ExchangeRequest, rest: AsyncIterator<ExchangeRequest>): Promise<void> {
    try {
      for (let request: ExchangeRequest | undefined = first; request !== undefined && !this.#stopped; ) {
        await this.#handle(request)
        const next: IteratorResult<ExchangeRequest> = await rest.next()
        request = next.done === true ? undefined : next.value
      }
    } catch (error) {
      // The stream was closed meanwhile: that is what made the read fail, and it is reported already.
      if (!this.#stopped) this.failure = error
      this.#pump.wake()
    }
  }

  takeOutcomes(): Outcome[] {
    const taken = this.#outcomes
    this.#outcomes = []
    this.#resume?.()
    return taken
  }

  stop(): void {
    this.#stopped = true
    this.#resume?.()
  }

  async #handle(request: ExchangeRequest): Promise<void> {
    if (request.acknowledged > 0n) this.#pump.stream.acknowledge(Number(request.acknowledged))
    if (request.envelopes.length === 0) return
    const routed = routeAll(this.#core, this.#session, request.envelopes.map(outgoingEnvelope))
    this.#outcomes.push(...(await complete(routed)).map(outcomeMessage))
    this.#pump.wake()
    if (this.#outcomes.length < MAX_PENDING_OUTCOMES) return
    await new Promise<void>((resolve) => {
      this.#resume = resolve
    })
    this.#resume = undefined
  }
}

function openPump(core: SignalCore, cursor: bigint, context: HandlerContext): StreamPump {
  const call = callOf(context)
  const { session, tokenExpiresAtMs } = authenticate(core, call)
  const { clock, limits } = core
  const { signal } = context
  return new StreamPump(session, cursor, tokenExpiresAtMs, { call, clock, streamEndMs: limits.streamEndMs, signal })
}

/** After the notice comes the status: clients that know no notices learn the reason all the same. */
function throwEnding(pump: StreamPump): void {
  const ending = pump.endedBy
  if (ending !== undefined) throw ending.error
}

function complete(routed: RequestOutcomes): Promise<readonly EnvelopeOutcome[]> {
  return new Promise((resolve) => routed.whenComplete(resolve))
}

function outcomeMessage({ id, status, error }: EnvelopeOutcome): Outcome {
  return create(OutcomeSchema, { id, status, ...(error === undefined ? {} : { error: error.toDetail() }) })
}
