import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, createRouterTransport, type HandlerContext } from '@connectrpc/connect'
import { type Clock, ErrorReason, MeshError, type SigningKey, signingKeyFromSeed, signSessionGrant } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { type SessionLimits, SessionProofSchema, type SignedStatement } from '@mesh/protocol/mesh/signal/v1/session_pb'
import {
  type Envelope,
  EventSchema,
  type ExchangeResponseSchema,
  OutcomeStatus,
  SignalService,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { SignalTransport } from '../platform.ts'

/**
 * A signaling server that does what a test says: it opens sessions honestly, and every stream is in the test's hands. What
 * clients called is kept in order.
 */
export class FakeServer {
  readonly key: SigningKey
  readonly clock: Clock
  /** "open", "renew", "subscribe 5", "exchange 5", "join", "close" ..., in order. */
  readonly calls: string[] = []
  readonly tokens: string[] = []
  readonly orders: bigint[] = []
  readonly streams: FakeStream[] = []
  readonly received: Envelope[] = []
  /** Next answers by call: an error instead of a result. */
  readonly refusals = new Map<string, MeshError[]>()
  tokenTtlMs = 3_600_000
  heartbeatMs = 10_000
  limits: Partial<SessionLimits> = {}
  clockAheadMs = 0
  /** False: envelopes get no outcome. */
  answers = true
  transportClosed = 0
  #sessionOf = new Map<string, Uint8Array>()
  #grantKey: SigningKey
  #count = 0

  static async create(clock: Clock, seed = 7): Promise<FakeServer> {
    return new FakeServer(clock, await signingKeyFromSeed(new Uint8Array(32).fill(seed)))
  }

  private constructor(clock: Clock, key: SigningKey) {
    this.clock = clock
    this.key = key
    this.#grantKey = key
  }

  /** The stream that was opened last. */
  get stream(): FakeStream {
    return this.streams.at(-1) as FakeStream
  }

  refuseNext(call: string, ...errors: MeshError[]): void {
    this.refusals.set(call, [...(this.refusals.get(call) ?? []), ...errors])
  }

  /** Changes the grants of sessions from now on. */
  alterGrant: (grant: SignedStatement) => SignedStatement = (grant) => grant

  /** Grants are signed by somebody else from now on. */
  async grantByAnother(): Promise<void> {
    this.#grantKey = await signingKeyFromSeed(new Uint8Array(32).fill(8))
  }

  /** What a killed process knows afterwards. */
  forgetSessions(): void {
    this.#sessionOf.clear()
  }

  transport(duplex: boolean): SignalTransport {
    const transport = createRouterTransport(({ service }) => {
      service(SignalService, {
        getChallenge: () => {
          this.#refuse('challenge')
          const challenge = new Uint8Array(32).fill(++this.#count)
          return { challenge, serverKey: this.key.publicKey, serverTimeMs: this.#timeMs(), ttlMs: 60_000 }
        },
        openSession: ({ proof, token }) => this.#open(proof?.statement, token),
        closeSession: (_request, context) => {
          this.#authenticate('close', context)
          return {}
        },
        join: (_request, context) => {
          this.#authenticate('join', context)
          return { revision: 1n, members: [], memberCount: 1 }
        },
        leave: (_request, context) => {
          this.#authenticate('leave', context)
          return { revision: 2n }
        },
        sendMessage: ({ envelopes }, context) => {
          this.#authenticate('send', context)
          return { outcomes: this.#take(envelopes) }
        },
        subscribe: ({ cursor }, context) => eventsOf(this.#stream(`subscribe ${cursor}`, context)),
        exchange: (requests, context) => this.#exchange(requests, context),
      })
    })
    return { transport, duplex, close: () => this.transportClosed++ }
  }

  async #open(statement: Uint8Array | undefined, token: string) {
    const { clientNonce, peerKey, origin, sessionOrder } = fromBinary(
      SessionProofSchema,
      statement ?? new Uint8Array(0),
    )
    const known = this.#sessionOf.get(token)
    this.calls.push(known ? 'renew' : 'open')
    this.orders.push(sessionOrder)
    this.#refuse('open')
    const sessionId = known ?? new Uint8Array(16).fill(++this.#count)
    const next = `token-${++this.#count}`
    this.#sessionOf.set(next, sessionId)
    this.tokens.push(next)
    const expiresAtMs = Number(this.#timeMs()) + this.tokenTtlMs
    const grant = await signSessionGrant(this.#grantKey, { clientNonce, sessionId, peerKey, origin, expiresAtMs })
    return {
      token: next,
      grant: this.alterGrant(grant),
      renewed: known !== undefined,
      heartbeatMs: this.heartbeatMs,
      leaseMs: 15_000,
      serverTimeMs: this.#timeMs(),
      limits: this.limits as SessionLimits,
      iceServers: [
        { urls: ['stun:a'], username: '', credential: '' },
        { urls: ['turn:b'], username: 'user', credential: 'secret' },
      ],
    }
  }

  #timeMs(): bigint {
    return BigInt(this.clock.wallMs() + this.clockAheadMs)
  }

  #stream(call: string, context: HandlerContext): AsyncGenerator<StreamResponse> {
    const stream = new FakeStream(this.#authenticate(call, context))
    this.streams.push(stream)
    return stream.responses(context.signal)
  }

  async *#exchange(
    requests: AsyncIterable<{ cursor: bigint; envelopes: Envelope[]; acknowledged: bigint }>,
    context: HandlerContext,
  ) {
    const input = requests[Symbol.asyncIterator]()
    const first = await input.next()
    const responses = this.#stream(`exchange ${first.value.cursor}`, context)
    const { stream } = this
    stream.requests++
    const read = async () => {
      for (let next = await input.next(); !next.done; next = await input.next()) {
        stream.requests++
        stream.acknowledged = next.value.acknowledged
        if (next.value.envelopes.length > 0) stream.push({ outcomes: this.#take(next.value.envelopes) })
      }
    }
    read().catch(() => undefined)
    yield* responses
  }

  #take(envelopes: readonly Envelope[]) {
    this.received.push(...envelopes)
    return this.answers ? envelopes.map(({ id }) => ({ id, status: OutcomeStatus.DELIVERED })) : []
  }

  #authenticate(call: string, context: HandlerContext): string {
    const token = context.requestHeader.get('authorization')?.replace('Bearer ', '') ?? ''
    this.calls.push(call)
    this.#refuse(call.split(' ')[0] as string)
    if (!this.#sessionOf.has(token)) throw connectError(new MeshError(ErrorReason.SESSION_UNKNOWN, 'unknown'))
    return token
  }

  #refuse(call: string): void {
    const error = this.refusals.get(call)?.shift()
    if (error) throw connectError(error)
  }
}

/** One Subscribe or Exchange, from the server's side. */
export class FakeStream {
  readonly token: string
  acknowledged = 0n
  /** Requests of an Exchange, the first included. */
  requests = 0
  /** The client is gone. */
  aborted = false
  readonly #queue: (StreamResponse | { error: MeshError | undefined })[] = []
  #wake = () => {}

  constructor(token: string) {
    this.token = token
  }

  push(response: StreamResponse): void {
    this.#queue.push(response)
    this.#wake()
  }

  event(cursor: bigint, event: MessageInitShape<typeof EventSchema>['event']): void {
    this.push({ events: [create(EventSchema, { cursor, ...(event && { event }) })] })
  }

  heartbeat(cursor = 0n): void {
    this.event(cursor, { case: 'heartbeat', value: { serverTimeMs: 0n } })
  }

  /** Ends the stream: cleanly, or with an error. */
  end(error?: MeshError): void {
    this.#queue.push({ error })
    this.#wake()
  }

  async *responses(signal: AbortSignal): AsyncGenerator<StreamResponse> {
    signal.addEventListener('abort', () => {
      this.aborted = true
      this.#wake()
    })
    for (;;) {
      const next = this.#queue.shift()
      if (next && 'error' in next) {
        if (next.error) throw connectError(next.error)
        return
      }
      if (next) yield next
      else if (signal.aborted) return
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}

type StreamResponse = MessageInitShape<typeof ExchangeResponseSchema>

async function* eventsOf(responses: AsyncIterable<StreamResponse>) {
  for await (const { events } of responses) yield { events: events ?? [] }
}

function connectError(error: MeshError): ConnectError {
  return new ConnectError(error.message, Code.Unknown, undefined, [
    { desc: ErrorDetailSchema, value: error.toDetail() },
  ])
}
