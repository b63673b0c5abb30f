import { create, toBinary } from '@bufbuild/protobuf'
import { MeshError, nextSeq, type Random, type VerifiedRecord } from '@mesh/core'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { EnvelopeSchema, type Event } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { statementBytes } from '../../../../core/identity/statement.ts'
import { type ByteKey, byteKey, bytesOfKey } from '../../../../server/byte-key.ts'
import { outgoingEnvelope } from '../../../../server/router/envelope.ts'
import type { SimProcess } from '../servers/sim-process.ts'
import { standInPublicKey, standInSignature } from '../servers/stand-in-keys.ts'
import type { World } from '../world.ts'
import type { SentMessage } from './messages.ts'
import { type SessionListener, SimSession } from './sim-session.ts'

const TTLS_MS = [3_000, 20_000, 900_000] as const

/**
 * A client of the simulated world: signs records and sends messages as a real one does, directly against the domain of the
 * server it is at. What it does next is decided by `client-life.ts`; here is how.
 */
export class SimClient implements SessionListener {
  readonly index: number
  readonly key: Uint8Array
  readonly peer: ByteKey
  readonly random: Random
  /** Topics it wants to be in. */
  readonly wanted = new Set<number>()
  /** Sessions it believes to have, oldest first. */
  readonly sessions: SimSession[] = []
  /** Sessions of a process that is gone; their streams are still drained, by nobody. */
  readonly #abandoned = new Set<SimSession>()
  readonly ttlMs: number
  readonly #world: World
  readonly #seqs = new Map<number, bigint>()
  /** seqs of LEAVE records, by topic. */
  readonly #leaves = new Map<ByteKey, bigint[]>()
  /** seq of the newest JOIN record, by topic and session. */
  readonly #joins = new Map<string, bigint>()
  #order: bigint
  #sent = 0
  /** Set while its process lives. */
  alive = true

  constructor(world: World, index: number, random: Random) {
    this.#world = world
    this.index = index
    this.random = random
    this.key = standInPublicKey(index, 0xc0)
    this.peer = byteKey(this.key)
    this.ttlMs = TTLS_MS[Math.floor(random.uniform() * TTLS_MS.length)] as number
    this.#order = firstOrder(world)
  }

  /** The session with the highest order. */
  get newest(): SimSession | undefined {
    return this.sessions.at(-1)
  }

  /** Opens a session with a stream, and joins what it wants to be in. */
  connect(process: SimProcess): SimSession | undefined {
    if (process.state !== 'running') return undefined
    this.#order += 1n
    let opened: SimSession | undefined
    process.run(() => {
      const session = process.domain.sessions.open(this.key, this.#order)
      opened = new SimSession(process, session, this)
      opened.attach()
    })
    if (opened === undefined) return undefined
    this.#world.trace(`client ${this.index} opens a session at server ${process.index}, order ${this.#order}`)
    this.sessions.push(opened)
    this.#world.sessionOpened(this, opened)
    for (const topic of this.wanted) this.join(opened, topic)
    return opened
  }

  /** Joins, or updates the membership, at every session it has: the newest one at least. */
  join(at: SimSession, topic: number): void {
    if (at.process.state !== 'running' || at.session.end !== undefined) return
    const record = this.#record(at, topic, MembershipKind.JOIN)
    const topicKey = this.#world.topicKeys[topic] as ByteKey
    this.#joins.set(topicKey + at.session.key, record.record.seq)
    at.process.run(() => {
      try {
        at.joined(topicKey, at.process.domain.memberships.join(at.session, record, 0))
        at.process.domain.router.onJoin(at.session, topicKey)
        this.#world.trace(`client ${this.index} joins topic ${topic} at server ${at.process.index}`)
      } catch (error) {
        this.#refused(at, `join of topic ${topic}`, error)
      }
    })
  }

  leave(at: SimSession, topic: number): void {
    const topicKey = this.#world.topicKeys[topic] as ByteKey
    if (at.process.state !== 'running' || at.session.end !== undefined || !at.session.topics.has(topicKey)) return
    const record = this.#record(at, topic, MembershipKind.LEAVE)
    this.#leaves.set(topicKey, [...(this.#leaves.get(topicKey) ?? []), record.record.seq])
    at.process.run(() => {
      try {
        at.process.domain.memberships.leave(at.session, record)
        at.left(topicKey)
        this.#world.trace(`client ${this.index} leaves topic ${topic} at server ${at.process.index}`)
      } catch (error) {
        this.#refused(at, `leave of topic ${topic}`, error)
      }
    })
  }

  /** Makes every session what the client wants: what could not be said to a server that did not answer is said again. */
  reconcile(): void {
    for (const session of [...this.sessions]) {
      for (const [topic, topicKey] of this.#world.topicKeys.entries()) {
        const isIn = session.session.topics.has(topicKey)
        if (isIn && !this.wanted.has(topic)) this.leave(session, topic)
        else if (!isIn && this.wanted.has(topic)) this.join(session, topic)
      }
    }
  }

  send(at: SimSession, topic: number, to: ByteKey, ttlMs: number, again?: ByteKey): void {
    if (at.process.state !== 'running' || at.session.end !== undefined) return
    const recipient = this.#world.clientOf(to)
    if (recipient === undefined) return
    const id = again === undefined ? this.#newId() : bytesOfKey(again)
    const topicBytes = this.#world.topics[topic] as Uint8Array
    const fields = { id, to: recipient.key, topic: topicBytes, ttlMs, payload: id.subarray(0, 4) }
    const envelope = outgoingEnvelope(create(EnvelopeSchema, fields))
    const message: SentMessage = {
      id: byteKey(id),
      from: this.index,
      to: recipient.index,
      process: at.process,
      sentMs: this.#world.clock.monotonicMs(),
      ttlMs,
      inPeace: this.#world.peace,
      resolvedMs: undefined,
      outcome: undefined,
    }
    this.#world.messageSent(message)
    at.process.run(() => {
      const { router } = at.process.domain
      router.route(at.session, envelope, (outcome) => this.#world.messageSettled(message, outcome))
    })
  }

  /** Ends a session in order. */
  logOut(at: SimSession): void {
    this.forget(at)
    this.#world.trace(`client ${this.index} logs out at server ${at.process.index}`)
    at.process.run(() => at.process.domain.sessions.end(at.session, { kind: 'closed' }))
  }

  /** Its connection to a server broke, and the server learns it. It keeps the session, and may resume. */
  drop(at: SimSession): void {
    at.process.run(() => at.detach())
  }

  resume(at: SimSession): void {
    if (at.process.state !== 'running' || at.streaming) return
    if (at.session.end !== undefined) this.forget(at)
    else at.process.run(() => at.attach())
  }

  /** Lives no more, without a word: its streams stay until the servers find out. */
  vanish(): SimSession[] {
    this.#world.trace(`client ${this.index} vanishes`)
    const left = this.sessions.splice(0)
    for (const session of left) this.#abandoned.add(session)
    this.alive = false
    return left
  }

  /** Its next process: it remembers nothing; its order comes from a clock, and so does the seq of its records. */
  reappear(): void {
    this.#world.trace(`client ${this.index} comes back`)
    this.#order = firstOrder(this.#world)
    this.#seqs.clear()
    this.alive = true
  }

  /** Whether it left the topic with a record newer than this one. */
  hasLeft(topicKey: ByteKey, recordSeq: bigint): boolean {
    return (this.#leaves.get(topicKey) ?? []).some((seq) => seq > recordSeq)
  }

  /** Whether it joined the topic, in a session, with a record newer than this one. */
  joinedAfter(topicKey: ByteKey, session: ByteKey, recordSeq: bigint): boolean {
    return (this.#joins.get(topicKey + session) ?? 0n) > recordSeq
  }

  /** Gives a session up without telling anybody. */
  forget(at: SimSession): void {
    const index = this.sessions.indexOf(at)
    if (index >= 0) this.sessions.splice(index, 1)
  }

  readable(session: SimSession): void {
    this.#world.readable(session)
  }

  message(session: SimSession, event: Event): void {
    if (event.event.case !== 'message') return
    const id = byteKey(event.event.value.id)
    if (this.#abandoned.has(session)) this.#world.messageLost(id)
    else this.#world.messageRead(id, this, session)
  }

  ownMembershipEnded(session: SimSession, topicKey: ByteKey): void {
    const topic = this.#world.topicKeys.indexOf(topicKey)
    if (this.wanted.has(topic)) this.#soon(() => this.sessions.includes(session) && this.join(session, topic))
  }

  gap(session: SimSession): void {
    this.#soon(() => {
      if (!this.sessions.includes(session)) return
      for (const topic of this.wanted) this.join(session, topic)
    })
  }

  ended(session: SimSession): void {
    this.forget(session)
  }

  #newId(): Uint8Array {
    this.#sent += 1
    const id = new Uint8Array(16)
    new DataView(id.buffer).setUint32(0, this.index)
    new DataView(id.buffer).setUint32(4, this.#sent)
    return id
  }

  #soon(run: () => void): void {
    this.#world.clock.schedule(this.random.uniform() * 200, () => this.alive && run())
  }

  #refused(at: SimSession, what: string, error: unknown): void {
    if (!(error instanceof MeshError)) throw error
    this.#world.trace(`client ${this.index}: ${what} at server ${at.process.index} is refused: ${error.message}`)
  }

  /** Dated by the clock of the server, as clients do whose own is wrong. */
  #record(at: SimSession, topic: number, kind: MembershipKind): VerifiedRecord {
    const seq = nextSeq(this.#seqs.get(topic) ?? 0n, this.#world.clock.wallMs())
    this.#seqs.set(topic, seq)
    const issuedAtMs = at.process.clock.wallMs()
    const record = create(MembershipRecordSchema, {
      version: 1,
      kind,
      topic: this.#world.topics[topic] as Uint8Array,
      peerKey: this.key,
      sessionId: at.session.id,
      seq,
      issuedAtMs: BigInt(issuedAtMs),
      ttlMs: this.ttlMs,
      sessionKey: this.key,
      homeKey: bytesOfKey(at.process.serverKey),
      sessionOrder: at.session.order,
    })
    const bytes = toBinary(MembershipRecordSchema, record)
    const signature = standInSignature(this.key, statementBytes('membership', bytes))
    const signed = create(SignedRecordSchema, { record: bytes, signature })
    return { record, signed, expiresAtMs: issuedAtMs + this.ttlMs + at.process.limits.clockSkewMs }
  }
}

/** Session orders of one process share the time at which it started; the low 20 bits count its sessions. */
function firstOrder(world: World): bigint {
  return BigInt(Math.floor(world.clock.wallMs())) << 20n
}
