import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import {
  type Clock,
  ErrorReason,
  fromHex,
  MeshError,
  type Random,
  type SigningKey,
  signSessionGrant,
  toHex,
} from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { SessionProofSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import {
  DepartureReason,
  type Envelope,
  type EventSchema,
  type ExchangeRequest,
  type MembersEventSchema,
  OutcomeStatus,
  type SignalService,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
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

export class MemorySignalService implements Partial<ServiceImpl<typeof SignalService>> {
  tampering: Tampering = {}
  readonly #clock: Clock
  readonly #random: Random
  readonly #key: SigningKey
  readonly #sessions = new Map<string, MemorySession>()
  readonly #topics = new Map<string, Map<string, { session: MemorySession; record: SignedRecord }>>()
  #revision = 0n

  constructor(clock: Clock, random: Random, key: SigningKey) {
    this.#clock = clock
    this.#random = random
    this.#key = key
  }

  /** Forgets everything and ends every stream, as a killed process does. */
  restart(): void {
    for (const session of this.#sessions.values()) session.end()
    this.#sessions.clear()
    this.#topics.clear()
  }

  /** Ends the sessions of a peer without its word, as the end of a lease does: the others see it expire. */
  expire(peerKey: Uint8Array): void {
    for (const [name, session] of [...this.#sessions]) {
      if (toHex(session.peerKey) !== toHex(peerKey)) continue
      this.#sessions.delete(name)
      for (const topic of [...this.#topics.keys()]) this.#remove(topic, session, undefined, DepartureReason.EXPIRED)
      session.end()
    }
  }

  /** Sends an event to every session of a peer; for servers that lie. */
  inject(peerKey: Uint8Array, event: MessageInitShape<typeof EventSchema>['event']): void {
    for (const session of this.#sessions.values()) {
      if (toHex(session.peerKey) === toHex(peerKey)) session.push(event)
    }
  }

  async getChallenge() {
    const challenge = this.#random.bytes(32)
    return { challenge, serverKey: this.#key.publicKey, serverTimeMs: BigInt(this.#clock.wallMs()), ttlMs: 60_000 }
  }

  async openSession({ proof, token }: { proof?: { statement: Uint8Array } | undefined; token: string }) {
    const { clientNonce, peerKey, origin } = fromBinary(SessionProofSchema, proof?.statement ?? new Uint8Array(0))
    const known = this.#sessions.get(token)
    const session = known ?? new MemorySession(this.#clock, peerKey, this.#random.bytes(16))
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
    for (const topic of [...this.#topics.keys()]) this.#remove(topic, session, undefined)
    session.end()
    return {}
  }

  async join({ record }: { record?: SignedRecord | undefined }, context: HandlerContext) {
    const { session } = this.#session(context)
    if (!record) throw refuse(ErrorReason.RECORD_MALFORMED)
    const topic = toHex(fromBinary(MembershipRecordSchema, record.record).topic)
    const members = this.#topics.get(topic) ?? new Map()
    this.#topics.set(topic, members)
    const updated = members.has(toHex(session.peerKey))
    members.set(toHex(session.peerKey), { session, record })
    this.#announce(topic, session, updated ? { updated: [record] } : { joined: [record] })
    const others = [...members.values()].filter((member) => member.session !== session).map((member) => member.record)
    return {
      revision: this.#revision,
      members: this.tampering.records?.(others, session.peerKey) ?? others,
      memberCount: members.size,
    }
  }

  async leave({ record }: { record?: SignedRecord | undefined }, context: HandlerContext) {
    const { session } = this.#session(context)
    if (!record) throw refuse(ErrorReason.RECORD_MALFORMED)
    this.#remove(toHex(fromBinary(MembershipRecordSchema, record.record).topic), session, record)
    return { revision: this.#revision }
  }

  async *subscribe({ cursor }: { cursor: bigint }, context: HandlerContext) {
    const { session } = this.#session(context)
    for await (const event of session.events(cursor, context.signal)) yield { events: event ? [event] : [] }
    throw refuse(ErrorReason.SESSION_UNKNOWN)
  }

  async *exchange(requests: AsyncIterable<ExchangeRequest>, context: HandlerContext) {
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
    throw refuse(ErrorReason.SESSION_UNKNOWN)
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
      const member = this.#topics.get(toHex(envelope.topic))?.get(toHex(envelope.to))
      if (!member) return refused(sent.id, ErrorReason.RECIPIENT_ABSENT)
      member.session.push({ case: 'message', value: envelope })
    }
    return { id: sent.id, status: OutcomeStatus.DELIVERED }
  }

  #remove(
    topic: string,
    session: MemorySession,
    record: SignedRecord | undefined,
    reason: DepartureReason = DepartureReason.LEFT,
  ): void {
    const members = this.#topics.get(topic)
    const name = toHex(session.peerKey)
    if (members?.get(name)?.session !== session) return
    members.delete(name)
    const left = { peerKey: session.peerKey, sessionId: session.id, reason }
    this.#announce(topic, session, { left: [{ ...left, ...(record && { record }) }] })
  }

  #announce(topic: string, source: MemorySession, change: MessageInitShape<typeof MembersEventSchema>): void {
    this.#revision += 1n
    for (const { session } of this.#topics.get(topic)?.values() ?? []) {
      if (session === source) continue
      const tampered = { ...change }
      const records = this.tampering.records
      if (records && change.joined) tampered.joined = records(change.joined as SignedRecord[], session.peerKey)
      const value = { ...tampered, topic: fromHex(topic), revision: this.#revision }
      session.push({ case: 'members', value: value as never })
    }
  }

  #session(context: HandlerContext): { name: string; session: MemorySession } {
    const name = context.requestHeader.get('authorization')?.replace('Bearer ', '') ?? ''
    const session = this.#sessions.get(name)
    if (!session) throw refuse(ErrorReason.SESSION_UNKNOWN)
    return { name, session }
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
