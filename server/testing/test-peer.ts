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
}

/** Every way in that clients use; Exchange needs HTTP/2. */
export const WIRES: readonly Wire[] = [
  { name: 'Connect over HTTP/2', protocol: 'connect', httpVersion: '2' },
  { name: 'Connect JSON over HTTP/1.1', protocol: 'connect', httpVersion: '1.1', json: true },
  { name: 'Connect over HTTP/1.1', protocol: 'connect', httpVersion: '1.1' },
  { name: 'gRPC over HTTP/2', protocol: 'grpc', httpVersion: '2' },
  { name: 'gRPC-Web over HTTP/1.1', protocol: 'grpc-web', httpVersion: '1.1' },
  { name: 'gRPC-Web over HTTP/2', protocol: 'grpc-web', httpVersion: '2' },
]

export function transportOf(origin: string, wire: Wire): Transport {
  const options = { baseUrl: origin, httpVersion: wire.httpVersion, useBinaryFormat: wire.json !== true }
  if (wire.protocol === 'connect') return createConnectTransport(options)
  if (wire.protocol === 'grpc-web') return createGrpcWebTransport(options)
  return createGrpcTransport({ baseUrl: origin, useBinaryFormat: true })
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
    return new Subscription(this, cursor)
  }
}

/** Some X25519 public key: the server looks at its shape only. */
const SESSION_KEY = Uint8Array.from({ length: 32 }, (_, i) => i + 1)

/** One Subscribe call, read event by event. */
export class Subscription {
  readonly #abort = new AbortController()
  readonly #events: AsyncGenerator<Event>
  #held: Event[] = []

  constructor(peer: TestPeer, cursor: bigint) {
    const responses = peer.client.subscribe({ cursor }, { ...peer.auth, signal: this.#abort.signal })
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
