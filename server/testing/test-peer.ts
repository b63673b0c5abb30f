import type { MessageInitShape } from '@bufbuild/protobuf'
import type { CallOptions, Client, Transport } from '@connectrpc/connect'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import {
  generateSigningKey,
  type SigningKey,
  signRecord,
  signSessionProof,
  systemRandom,
  verifySessionGrant,
} from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  type Event,
  type ExchangeRequestSchema,
  type ExchangeResponse,
  type JoinResponse,
  type OpenSessionResponse,
  type Outcome,
  SignalService,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** A protocol, encoding and HTTP version a client may use. */
export interface Wire {
  readonly name: string
  readonly protocol: 'connect' | 'grpc' | 'grpc-web'
  readonly httpVersion: '1.1' | '2'
  readonly json?: boolean
  /** Sends a deadline with every call: the server then takes the full lane. */
  readonly timeoutMs?: number
}

/** Every way in that clients use; Exchange needs HTTP/2. The plain ones take the fast lane, a deadline the full one. */
export const WIRES: readonly Wire[] = [
  { name: 'Connect over HTTP/2', protocol: 'connect', httpVersion: '2' },
  { name: 'Connect over HTTP/2, with deadlines', protocol: 'connect', httpVersion: '2', timeoutMs: 60_000 },
  { name: 'Connect over HTTP/1.1', protocol: 'connect', httpVersion: '1.1' },
  { name: 'Connect JSON over HTTP/1.1', protocol: 'connect', httpVersion: '1.1', json: true },
  { name: 'Connect JSON over HTTP/2', protocol: 'connect', httpVersion: '2', json: true },
  { name: 'gRPC', protocol: 'grpc', httpVersion: '2' },
  { name: 'gRPC, with deadlines', protocol: 'grpc', httpVersion: '2', timeoutMs: 60_000 },
  { name: 'gRPC-Web over HTTP/1.1', protocol: 'grpc-web', httpVersion: '1.1' },
  { name: 'gRPC-Web over HTTP/2', protocol: 'grpc-web', httpVersion: '2' },
  { name: 'gRPC-Web over HTTP/2, with deadlines', protocol: 'grpc-web', httpVersion: '2', timeoutMs: 60_000 },
]

/** True when the server can serve the hot calls of this wire in its fast lane. */
export function isPlain(wire: Wire): boolean {
  return wire.json !== true && wire.timeoutMs === undefined
}

export function transportOf(origin: string, wire: Wire): Transport {
  const timeout = wire.timeoutMs === undefined ? {} : { defaultTimeoutMs: wire.timeoutMs }
  const options = { baseUrl: origin, httpVersion: wire.httpVersion, useBinaryFormat: wire.json !== true, ...timeout }
  if (wire.protocol === 'connect') return createConnectTransport(options)
  if (wire.protocol === 'grpc-web') return createGrpcWebTransport(options)
  return createGrpcTransport({ baseUrl: origin, useBinaryFormat: wire.json !== true, ...timeout })
}

export interface TestPeerOptions {
  readonly origin: string
  readonly wire?: Wire
  readonly key?: SigningKey
  readonly order?: bigint
  /** Wall clock of the server, for records. */
  readonly wallMs?: () => number
}

/** A signaling client of a few lines: it signs what a server asks for and keeps no state that tests do not see. */
export class TestPeer {
  readonly client: Client<typeof SignalService>
  readonly origin: string
  readonly key: SigningKey
  readonly #wallMs: () => number
  order: bigint
  serverKey: Uint8Array = new Uint8Array()
  sessionId: Uint8Array = new Uint8Array()
  token = ''
  #seq = 0n

  private constructor(options: TestPeerOptions, key: SigningKey) {
    this.origin = options.origin
    this.key = key
    this.#wallMs = options.wallMs ?? Date.now
    this.order = options.order ?? 1n
    this.client = createClient(SignalService, transportOf(options.origin, options.wire ?? (WIRES[0] as Wire)))
  }

  /** A peer without a session. */
  static async create(options: TestPeerOptions): Promise<TestPeer> {
    return new TestPeer(options, options.key ?? (await generateSigningKey()))
  }

  /** A peer with a session. */
  static async open(options: TestPeerOptions): Promise<TestPeer> {
    const peer = await TestPeer.create(options)
    await peer.openSession()
    return peer
  }

  get auth(): CallOptions {
    return { headers: { authorization: `Bearer ${this.token}` } }
  }

  async openSession(overrides: { origin?: string; challenge?: Uint8Array } = {}): Promise<OpenSessionResponse> {
    const { challenge, serverKey } = await this.client.getChallenge({})
    this.serverKey = serverKey
    const clientNonce = systemRandom.bytes(16)
    const origin = overrides.origin ?? this.origin
    const proof = await signSessionProof(this.key, {
      challenge: overrides.challenge ?? challenge,
      serverKey,
      origin,
      clientNonce,
      sessionOrder: this.order,
    })
    const response = await this.client.openSession({ proof, token: this.token })
    if (response.grant === undefined) throw new Error('no grant')
    const peerKey = this.key.publicKey
    const grant = await verifySessionGrant(response.grant, { serverKey, clientNonce, peerKey, origin })
    this.token = response.token
    this.sessionId = grant.sessionId
    return response
  }

  async record(
    topic: Uint8Array,
    kind: MembershipKind = MembershipKind.JOIN,
    overrides: { seq?: bigint; ttlMs?: number; state?: Uint8Array; issuedAtMs?: number; homeKey?: Uint8Array } = {},
  ): Promise<SignedRecord> {
    this.#seq = overrides.seq ?? this.#seq + 1n
    return signRecord(this.key, {
      kind,
      topic,
      sessionId: this.sessionId,
      seq: this.#seq,
      issuedAtMs: overrides.issuedAtMs ?? this.#wallMs(),
      ttlMs: overrides.ttlMs ?? 900_000,
      sessionKey: SESSION_KEY,
      homeKey: overrides.homeKey ?? this.serverKey,
      sessionOrder: this.order,
      ...(overrides.state === undefined ? {} : { state: overrides.state }),
    })
  }

  async join(topic: Uint8Array, overrides: Parameters<TestPeer['record']>[2] = {}): Promise<JoinResponse> {
    return this.client.join({ record: await this.record(topic, MembershipKind.JOIN, overrides) }, this.auth)
  }

  async leave(topic: Uint8Array): Promise<void> {
    await this.client.leave({ record: await this.record(topic, MembershipKind.LEAVE) }, this.auth)
  }

  async send(
    to: Uint8Array,
    topic: Uint8Array,
    payload: Uint8Array,
    overrides: { id?: Uint8Array; ttlMs?: number; toSession?: Uint8Array } = {},
  ): Promise<Outcome> {
    const id = overrides.id ?? systemRandom.bytes(16)
    const envelope = { ...overrides, id, to, topic, payload }
    const { outcomes } = await this.client.sendMessage({ envelopes: [envelope] }, this.auth)
    return outcomes[0] as Outcome
  }

  subscribe(cursor = 0n): Subscription {
    return new Subscription((signal) => this.client.subscribe({ cursor }, { ...this.auth, signal }))
  }

  exchange(): ExchangeCall {
    return new ExchangeCall(this)
  }
}

/** Some X25519 public key: the server looks at its shape only. */
const SESSION_KEY = Uint8Array.from({ length: 32 }, (_, i) => i + 1)

/** A stream of events, read one by one. */
export class Subscription {
  readonly #abort = new AbortController()
  readonly #events: AsyncGenerator<Event>
  #held: Event[] = []

  constructor(call: (signal: AbortSignal) => AsyncIterable<{ events: Event[] }>) {
    const responses = call(this.#abort.signal)
    this.#events = (async function* () {
      for await (const { events } of responses) yield* events
    })()
  }

  /** The next event of this kind; others before it are skipped. Rejects with the call's error, or when it ends. */
  async next<C extends NonNullable<Event['event']['case']>>(
    kind: C,
  ): Promise<Extract<Event['event'], { case: C }>['value'] & { $cursor: bigint }> {
    for (;;) {
      const event = this.#held.shift() ?? (await this.#read())
      if (event.event.case === kind) {
        return Object.assign(event.event.value as never, { $cursor: event.cursor })
      }
    }
  }

  /** The stream is open once its first message came. */
  async opened(): Promise<this> {
    this.#held.push(await this.#read())
    return this
  }

  /** Reads to the end; the events that came, and the error the call ended with. */
  async rest(): Promise<{ events: Event[]; error: unknown }> {
    const events = this.#held.splice(0)
    try {
      for await (const event of this.#events) events.push(event)
      return { events, error: undefined }
    } catch (error) {
      return { events, error }
    }
  }

  /** Breaks the connection of the stream. */
  cancel(): void {
    this.#abort.abort()
    this.#events.return(undefined).catch(() => {})
  }

  async #read(): Promise<Event> {
    const next = await this.#events.next()
    if (next.done === true) throw new Error('the stream ended')
    return next.value
  }
}

type ExchangeInput = MessageInitShape<typeof ExchangeRequestSchema>

/** One Exchange call. */
export class ExchangeCall {
  readonly outcomes: Outcome[] = []
  readonly events: Subscription
  readonly #inputs: ExchangeInput[] = []
  #more: () => void = () => {}
  #ended = false

  constructor(peer: TestPeer) {
    this.events = new Subscription((signal) => this.#read(peer, signal))
  }

  send(request: ExchangeInput): void {
    this.#inputs.push(request)
    this.#more()
  }

  /** Ends the client's half. */
  end(): void {
    this.#ended = true
    this.#more()
  }

  async *#read(peer: TestPeer, signal: AbortSignal): AsyncGenerator<ExchangeResponse> {
    for await (const response of peer.client.exchange(this.#write(), { ...peer.auth, signal })) {
      this.outcomes.push(...response.outcomes)
      yield response
    }
  }

  async *#write(): AsyncGenerator<ExchangeInput> {
    for (;;) {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) yield next
      if (this.#ended) return
      await new Promise<void>((resolve) => {
        this.#more = resolve
      })
    }
  }
}
