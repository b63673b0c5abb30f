import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { ConnectError } from '@connectrpc/connect'
import { ErrorReason, generateSigningKey, MeshError, type SigningKey, systemRandom, toHex } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  DepartureReason,
  type Envelope,
  type Event,
  type ExchangeRequestSchema,
  type MembersEvent,
  type Outcome,
  OutcomeStatus,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { TestPeer } from '@mesh/server/testing'
import type { Ledger, ReportedOutcome } from './ledger.ts'

export interface SignalPeerOptions {
  readonly name: string
  /** Servers to be at, one at a time: the next one when the stream to the former broke. */
  readonly origins: readonly string[]
  readonly topic: Uint8Array
  readonly ledger: Ledger
  /** Names of peers by key, in hexadecimal, shared by all peers of a run. */
  readonly names: Map<string, string>
}

type ExchangeInput = MessageInitShape<typeof ExchangeRequestSchema>
type OutgoingEnvelope = NonNullable<ExchangeInput['envelopes']>[number]

interface Pending {
  readonly envelope: OutgoingEnvelope
  readonly giveUpMs: number
}

/** How long the servers may hold a message for an absent recipient. */
const TTL_MS = 10_000
/** How long a message is offered again, under its id, until somebody says what became of it. */
const GIVE_UP_MS = 30_000
const RECONNECT_MS = { least: 50, most: 400 }

/**
 * A client written from the protocol alone: a session, one Exchange, and what the servers say taken down in a ledger as it
 * comes. It retries as the protocol wants it (same id, same session while the server knows it) and repairs nothing else, so
 * that what the SDK would hide is seen.
 */
export class SignalPeer {
  readonly name: string
  readonly key: SigningKey
  readonly #options: SignalPeerOptions
  readonly #pending = new Map<string, Pending>()
  readonly #lifetime = new AbortController()
  readonly #view = new Set<string>()
  #stream = new AbortController()
  #outgoing: OutgoingEnvelope[] = []
  #moreOutgoing: () => void = () => {}
  #seat: TestPeer | undefined
  #at = 0
  #order = BigInt(Date.now()) << 20n
  #seq = BigInt(Date.now()) << 10n
  #cursor = 0n
  #brokenMs: number | undefined
  #ready = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()

  private constructor(options: SignalPeerOptions, key: SigningKey) {
    this.#options = options
    this.name = options.name
    this.key = key
  }

  /** Resolves when the peer is a member and its stream is open. */
  static async start(options: SignalPeerOptions): Promise<SignalPeer> {
    const peer = new SignalPeer(options, await generateSigningKey())
    options.names.set(toHex(peer.key.publicKey), peer.name)
    peer.#running = peer.#run()
    await peer.#ready.promise
    return peer
  }

  /** Names of the other members that the servers have told of and not taken back. */
  get view(): ReadonlySet<string> {
    return this.#view
  }

  send(to: SignalPeer): void {
    const id = systemRandom.bytes(16)
    const envelope = { id, to: to.key.publicKey, topic: this.#options.topic, ttlMs: TTL_MS, payload: id }
    this.#options.ledger.sent(toHex(id), this.name, to.name, performance.now())
    this.#pending.set(toHex(id), { envelope, giveUpMs: performance.now() + GIVE_UP_MS })
    this.#outgoing.push(envelope)
    this.#moreOutgoing()
  }

  /** How many messages wait for their outcome. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /** Closes the session: the others hear of it at once. */
  async leave(): Promise<void> {
    this.#options.ledger.gone(this.name, performance.now())
    const seat = this.#seat
    await seat?.client.closeSession({}, seat.auth).catch(() => undefined)
    await this.close()
  }

  /** Is gone without a word. */
  async vanish(): Promise<void> {
    this.#options.ledger.gone(this.name, performance.now())
    await this.close()
  }

  /** Stops, when nothing is judged any more. */
  async close(): Promise<void> {
    this.#lifetime.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#lifetime.signal.aborted) {
      try {
        await this.#live()
      } catch (error) {
        this.#ended(error)
      }
      await this.#pause()
    }
  }

  /** One stream, from opening the session to whatever ends it. */
  async #live(): Promise<void> {
    const { origins } = this.#options
    const seat = this.#seat ?? (await TestPeer.create({ origin: origins[this.#at] as string, key: this.key }))
    if (seat.token === '') seat.order = ++this.#order
    const { renewed } = await seat.openSession()
    this.#seat = seat
    if (!renewed) await this.#join(seat)
    this.#stream = new AbortController()
    const signal = AbortSignal.any([this.#lifetime.signal, this.#stream.signal])
    this.#outgoing = [...this.#pending.values()].map(({ envelope }) => envelope)
    for await (const { events, outcomes } of seat.client.exchange(this.#requests(signal), { ...seat.auth, signal })) {
      this.#connected(renewed)
      for (const outcome of outcomes) this.#settle(outcome)
      for (const event of events) this.#take(event)
    }
  }

  async #join(seat: TestPeer): Promise<void> {
    this.#cursor = 0n
    const { members } = await seat.join(this.#options.topic, { seq: ++this.#seq })
    const before = [...this.#view]
    this.#view.clear()
    for (const record of members) this.#see(record)
    for (const subject of before)
      if (!this.#view.has(subject)) this.#options.ledger.missing(this.name, subject, performance.now())
  }

  async *#requests(signal: AbortSignal): AsyncGenerator<ExchangeInput> {
    yield { cursor: this.#cursor }
    while (!signal.aborted) {
      const envelopes = this.#outgoing.splice(0, 64)
      if (envelopes.length > 0) {
        yield { envelopes, acknowledged: this.#cursor }
        continue
      }
      await new Promise<void>((resolve) => {
        this.#moreOutgoing = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #connected(renewed: boolean): void {
    if (this.#brokenMs !== undefined && !renewed) {
      this.#options.ledger.sessionLost(this.name, this.#brokenMs, performance.now())
    }
    this.#brokenMs = undefined
    this.#ready.resolve()
  }

  /** The stream ended, or none could be had. */
  #ended(error: unknown): void {
    this.#brokenMs ??= performance.now()
    const { origins } = this.#options
    if (origins.length > 1) {
      this.#at = (this.#at + 1) % origins.length
      this.#seat = undefined
    } else if (this.#seat !== undefined && sessionIsOver(error)) {
      this.#seat.token = ''
    }
    const now = performance.now()
    for (const [id, { giveUpMs }] of this.#pending) if (giveUpMs < now) this.#pending.delete(id)
  }

  #settle({ id, status, error }: Outcome): void {
    const name = toHex(id)
    if (!this.#pending.delete(name)) return
    // The first attempt was taken, and only its outcome was lost with the stream.
    const duplicate = error?.reason === ErrorReason.DUPLICATE
    const outcome = duplicate ? 'unknown' : outcomeOf(status)
    this.#options.ledger.settled(name, outcome, performance.now(), error && MeshError.fromDetail(error).reasonName)
  }

  #take({ cursor, event }: Event): void {
    if (cursor > this.#cursor) this.#cursor = cursor
    if (event.case === 'message') this.#receive(event.value)
    else if (event.case === 'members') this.#takeMembers(event.value)
  }

  #receive({ id }: Envelope): void {
    const session = toHex(this.#seat?.sessionId ?? new Uint8Array())
    this.#options.ledger.received(toHex(id), this.name, performance.now(), session)
  }

  #takeMembers({ joined, updated, left }: MembersEvent): void {
    const { ledger, names } = this.#options
    for (const { peerKey, reason } of left) {
      const subject = names.get(toHex(peerKey)) ?? toHex(peerKey)
      this.#view.delete(subject)
      if (subject !== this.name) ledger.left(this.name, subject, performance.now(), departureName(reason))
    }
    for (const record of [...joined, ...updated]) this.#see(record)
  }

  #see({ record }: SignedRecord): void {
    const { ledger, names } = this.#options
    const key = toHex(fromBinary(MembershipRecordSchema, record).peerKey)
    const subject = names.get(key) ?? key
    if (subject === this.name || this.#view.has(subject)) return
    this.#view.add(subject)
    ledger.joined(this.name, subject, performance.now())
  }

  async #pause(): Promise<void> {
    if (this.#lifetime.signal.aborted) return
    const ms = RECONNECT_MS.least + Math.random() * (RECONNECT_MS.most - RECONNECT_MS.least)
    await new Promise((resolve) => setTimeout(resolve, ms))
  }
}

function outcomeOf(status: OutcomeStatus): ReportedOutcome {
  if (status === OutcomeStatus.DELIVERED) return 'delivered'
  return status === OutcomeStatus.HELD ? 'held' : 'refused'
}

function departureName(reason: DepartureReason): string {
  return Object.entries(DepartureReason).find(([, value]) => value === reason)?.[0] ?? String(reason)
}

function sessionIsOver(error: unknown): boolean {
  const [detail] = ConnectError.from(error).findDetails(ErrorDetailSchema)
  return detail?.reason === ErrorReason.SESSION_REPLACED || detail?.reason === ErrorReason.SESSION_CLOSED
}
