import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import { type Clock, ErrorReason, MeshError, type Random, type SigningKey, signSessionGrant, toHex } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { SessionProofSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import {
  DepartureReason,
  type Envelope,
  type EventSchema,
  type ExchangeRequest,
  NoticeKind,
  OutcomeStatus,
  type SignalService,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { MemoryDirectory } from './memory-directory.ts'
import { HEARTBEAT_MS, MemorySession } from './memory-session.ts'

/**
 * A signaling server in memory: sessions, topics, envelopes and events, without limits, leases or checks. It believes
 * everything and can be made to lie, which is what tests of clients need; @mesh/server is the real one.
 */
export interface Tampering {
  /** Changes, drops (undefined) or multiplies envelopes on their way. */
  envelope?: (envelope: Envelope) => Envelope | readonly Envelope[] | undefined
  /** Changes the records a Join returns or an event carries. */
  records?: (records: SignedRecord[], to: Uint8Array) => SignedRecord[]
}

/** Where clients of a draining server should go. */
export interface MemorySuccessor {
  readonly origin: string
  readonly key?: Uint8Array
}

export class MemorySignalService implements Partial<ServiceImpl<typeof SignalService>> {
  tampering: Tampering = {}
  readonly #clock: Clock
  readonly #random: Random
  readonly #key: SigningKey
  readonly #directory: MemoryDirectory
  readonly #sessions = new Map<string, MemorySession>()
  #condition: 'up' | 'draining' | 'down' = 'up'

  /** Services that share a `directory` show each other's members and pass envelopes on, as federated servers do. */
  constructor(clock: Clock, random: Random, key: SigningKey, directory = new MemoryDirectory()) {
    this.#clock = clock
    this.#random = random
    this.#key = key
    this.#directory = directory
    directory.tamper = (records, to) => this.tampering.records?.(records, to) ?? records
  }

  /** Ed25519 public key. */
  get publicKey(): Uint8Array {
    return this.#key.publicKey
  }

  /** Sessions that are open. */
  get sessionCount(): number {
    return this.#sessions.size
  }

  /** Forgets everything and ends every stream, as a killed process does that is started again at once. */
  restart(): void {
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    this.#condition = 'up'
    for (const session of sessions) {
      session.end()
      this.#directory.leave(session, DepartureReason.SERVER_LOST)
    }
  }

  /** As `restart`, but nothing answers until `restart` is called. */
  stop(): void {
    this.restart()
    this.#condition = 'down'
  }

  /** Says that it stops in `deadlineMs`, takes nothing new, and stops then. */
  drain(deadlineMs: number, successor?: MemorySuccessor): void {
    this.#condition = 'draining'
    const named = { successor: successor?.origin ?? '', successorKey: successor?.key ?? new Uint8Array(0) }
    const value = { $typeName: 'mesh.signal.v1.NoticeEvent' as const, kind: NoticeKind.DRAINING, deadlineMs, ...named }
    for (const session of this.#sessions.values()) session.push({ case: 'notice', value })
    this.#clock.schedule(deadlineMs, () => {
      if (this.#condition === 'draining') this.stop()
    })
  }

  /** While true, streams say nothing, as those of a process that hangs. */
  freeze(frozen: boolean): void {
    for (const session of this.#sessions.values()) {
      session.frozen = frozen
      session.wake()
    }
  }

  /** Ends the streams of a peer, whose session lives on and keeps what comes for the next one. */
  breakStreams(peerKey: Uint8Array): void {
    for (const session of this.#sessionsOf(peerKey)) session.breakStreams()
  }

  /** Loses what a peer's streams have not written yet: it will be told of a gap. */
  loseEvents(peerKey: Uint8Array): void {
    for (const session of this.#sessionsOf(peerKey)) session.loseEvents()
  }

  /** Ends the sessions of a peer without its word, as the end of a lease does: the others see it expire. */
  expire(peerKey: Uint8Array): void {
    for (const [name, session] of [...this.#sessions]) {
      if (toHex(session.peerKey) !== toHex(peerKey)) continue
      this.#sessions.delete(name)
      this.#directory.leave(session, DepartureReason.EXPIRED)
      session.end()
    }
  }

  /** Sends an event to every session of a peer; for servers that lie. */
  inject(peerKey: Uint8Array, event: MessageInitShape<typeof EventSchema>['event']): void {
    for (const session of this.#sessionsOf(peerKey)) session.push(event)
  }

  async getChallenge() {
    this.#refuseNew()
    const challenge = this.#random.bytes(32)
    return { challenge, serverKey: this.#key.publicKey, serverTimeMs: BigInt(this.#clock.wallMs()), ttlMs: 60_000 }
  }

  async openSession({ proof, token }: { proof?: { statement: Uint8Array } | undefined; token: string }) {
    this.#refuseNew()
    const { clientNonce, peerKey, origin } = fromBinary(SessionProofSchema, proof?.statement ?? new Uint8Array(0))
    const known = this.#sessions.get(token)
    const session = known ?? new MemorySession(this.#clock, this, peerKey, this.#random.bytes(16))
    const name = known ? token : toHex(this.#random.bytes(16))
    this.#sessions.set(name, session)
    const serverTimeMs = BigInt(this.#clock.wallMs())
    const grant = await signSessionGrant(this.#key, {
      clientNonce,
      sessionId: session.id,
      peerKey,
      origin,
      expiresAtMs: Number(serverTimeMs) + 3_600_000,
    })
    return {
      token: name,
      grant,
      renewed: known !== undefined,
      heartbeatMs: HEARTBEAT_MS,
      leaseMs: 15_000,
      serverTimeMs,
    }
  }

  async closeSession(_request: unknown, context: HandlerContext) {
    const { name, session } = this.#session(context)
    this.#sessions.delete(name)
    this.#directory.leave(session, DepartureReason.LEFT)
    session.end()
    return {}
  }

  async join({ record }: { record?: SignedRecord | undefined }, context: HandlerContext) {
    this.#refuseNew()
    const { session } = this.#session(context)
    if (!record) throw refuse(ErrorReason.RECORD_MALFORMED)
    const topic = this.#directory.join(session, record)
    return { revision: this.#directory.revision, ...this.#directory.others(topic, session.peerKey) }
  }

  async leave({ record }: { record?: SignedRecord | undefined }, context: HandlerContext) {
    const { session } = this.#session(context)
    if (!record) throw refuse(ErrorReason.RECORD_MALFORMED)
    const topic = toHex(fromBinary(MembershipRecordSchema, record.record).topic)
    this.#directory.leave(session, DepartureReason.LEFT, topic, record)
    return { revision: this.#directory.revision }
  }

  async *subscribe({ cursor }: { cursor: bigint }, context: HandlerContext) {
    this.#refuseNew()
    const { session } = this.#session(context)
    for await (const event of session.events(cursor, context.signal)) yield { events: event ? [event] : [] }
    throw this.#streamEnd(session)
  }

  async *exchange(requests: AsyncIterable<ExchangeRequest>, context: HandlerContext) {
    this.#refuseNew()
    const { session } = this.#session(context)
    const iterator = requests[Symbol.asyncIterator]()
    const first = await iterator.next()
    const cursor = first.done ? 0n : first.value.cursor
    const outcomes: ReturnType<MemorySignalService['route']>[] = []
    const reading = (async () => {
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        for (const envelope of next.value.envelopes) outcomes.push(this.route(session, envelope))
        session.wake()
      }
    })()
    reading.catch(() => session.wake())
    for await (const event of session.events(cursor, context.signal, () => outcomes.length > 0)) {
      yield { events: event ? [event] : [], outcomes: outcomes.splice(0) }
    }
    throw this.#streamEnd(session)
  }

  async sendMessage({ envelopes }: { envelopes: Envelope[] }, context: HandlerContext) {
    const { session } = this.#session(context)
    return { outcomes: envelopes.map((envelope) => this.route(session, envelope)) }
  }

  /** @internal */
  route(session: MemorySession, sent: Envelope) {
    const stamped: Envelope = { ...sent, from: session.peerKey, fromSession: session.id }
    const { envelope: tamper } = this.tampering
    const changed = tamper ? tamper(stamped) : stamped
    const envelopes = changed === undefined ? [] : Array.isArray(changed) ? changed : [changed as Envelope]
    for (const envelope of envelopes) {
      const seats = this.#directory.seats(toHex(envelope.topic), envelope.to)
      const seat = seats.find((each) => each.session.server === this) ?? seats[0]
      if (!seat) return refused(sent.id, ErrorReason.RECIPIENT_ABSENT)
      seat.session.push({ case: 'message', value: envelope })
    }
    return { id: sent.id, status: OutcomeStatus.DELIVERED }
  }

  #sessionsOf(peerKey: Uint8Array): MemorySession[] {
    return [...this.#sessions.values()].filter((session) => toHex(session.peerKey) === toHex(peerKey))
  }

  #session(context: HandlerContext): { name: string; session: MemorySession } {
    if (this.#condition === 'down') throw new ConnectError('nobody listens', Code.Unavailable)
    const name = context.requestHeader.get('authorization')?.replace('Bearer ', '') ?? ''
    const session = this.#sessions.get(name)
    if (!session) throw refuse(ErrorReason.SESSION_UNKNOWN)
    return { name, session }
  }

  #refuseNew(): void {
    if (this.#condition === 'down') throw new ConnectError('nobody listens', Code.Unavailable)
    if (this.#condition === 'draining') throw refuse(ErrorReason.DRAINING)
  }

  #streamEnd(session: MemorySession): ConnectError {
    const isKnown = this.#sessionsOf(session.peerKey).includes(session)
    if (isKnown || this.#condition === 'down') return new ConnectError('the line broke', Code.Unavailable)
    return refuse(ErrorReason.SESSION_UNKNOWN)
  }
}

function refuse(reason: ErrorReason): ConnectError {
  const error = new MeshError(reason, 'refused', { retryable: true })
  return new ConnectError('refused', Code.FailedPrecondition, undefined, [
    { desc: ErrorDetailSchema, value: error.toDetail() },
  ])
}

function refused(id: Uint8Array, reason: ErrorReason) {
  return { id, status: OutcomeStatus.REFUSED, error: new MeshError(reason, 'refused').toDetail() }
}
