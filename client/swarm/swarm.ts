import { ErrorReason, formatPeerId, MeshError, type Timer, toHex, verifyRecord } from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { partyAdmission } from '../connection/admission.ts'
import { OrderedQueue } from '../connection/ordered-queue.ts'
import type { PeerConnection } from '../connection/peer-connection.ts'
import type { TopicHandle } from '../connection/topic-handle.ts'
import type { LinkChannel } from '../link/index.ts'
import { broadcast, type SendReport, sendTo } from './broadcast.ts'
import { Emitter, throwLater } from './emitter.ts'
import type { SwarmEvents, SwarmStatus } from './events.ts'
import { Inbox } from './inbox.ts'
import type { MemberChange } from './membership-view.ts'
import { encodeMessage, type Message, type MessageData } from './message.ts'
import type { Peer } from './peer.ts'
import type { SendOptions } from './peer-calls.ts'
import { awayLimit } from './presence.ts'
import type { RequestHandler } from './requests.ts'
import { Roster } from './roster.ts'
import { SwarmHomes } from './swarm-homes.ts'
import type { SwarmParts } from './swarm-options.ts'
import { automatic } from './topology/topology.ts'

const RECONCILE_MS = 5_000
const CLOSE_DRAIN_MS = 1_000
const MAX_PENDING_EVENTS = 4_096

/** The members of one party that this peer works with. Made by `join`. */
export class Swarm {
  /** Own peer id, in text. */
  readonly id: string
  /** Discovery key of the party, 32 bytes. */
  readonly topic: Uint8Array
  /** @internal The swarm at each server. */
  readonly homes: SwarmHomes
  readonly #parts: SwarmParts
  readonly #handle: TopicHandle
  readonly #events: Emitter<SwarmEvents>
  readonly #inbox: Inbox
  readonly #work: OrderedQueue
  readonly #roster: Roster
  readonly #joined = Promise.withResolvers<void>()
  readonly #lifetime = new AbortController()
  #status: SwarmStatus = 'joining'
  #closing: Promise<void> | undefined
  #timer: Timer | undefined

  /** Swarms are made by `join`. */
  constructor(parts: SwarmParts) {
    const { party, key, clock, random, seq, options } = parts
    this.#parts = parts
    this.id = formatPeerId(key.publicKey)
    this.topic = party.topic
    this.#events = new Emitter(throwLater)
    this.#inbox = new Inbox(this.#events)
    this.#work = new OrderedQueue(MAX_PENDING_EVENTS, (error) => this.#events.emit('error', error))
    this.#handle = this.#makeHandle()
    this.homes = new SwarmHomes({
      party,
      key,
      clock,
      random,
      seq,
      state: options.state ?? new Uint8Array(0),
      work: this.#work,
      onChanges: (changes) => this.#apply(changes),
      onJoined: () => {
        this.#joined.resolve()
        this.#setStatus('joined')
      },
      onState: () => this.#roster.tellState(),
      onStatus: () => this.#onStatus(),
      onError: (error) => this.#events.emit('error', error),
    })
    for (const home of parts.signal.homes) this.homes.add(home)
    this.#roster = new Roster({
      ownKey: key.publicKey,
      topic: party.topic,
      clock,
      connections: parts.connections,
      topology: options.topology ?? automatic(),
      view: this.homes.members,
      handle: () => this.#handle,
      awayMs: awayLimit(options.awayMs),
      emit: (name, peer) => this.#events.emit(name, peer),
    })
    this.#joined.promise.catch(() => undefined)
  }

  /** Members this peer is linked to, by peer id. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#roster.joined
  }

  /** How many other members the directory lists, at all servers together, linked or not. */
  get memberCount(): number {
    return this.homes.members.members.size
  }

  get status(): SwarmStatus {
    return this.#status
  }

  /** Calls `listener` for every event of that name, until the returned function is called. */
  on<Name extends keyof SwarmEvents & string>(name: Name, listener: (event: SwarmEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  /** Resolves with the next event of that name; rejects with ABORTED, or LINK_CLOSED when the swarm closes first. */
  once<Name extends keyof SwarmEvents & string>(
    name: Name,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<SwarmEvents[Name]> {
    const signals = [this.#lifetime.signal, ...(options.signal ? [options.signal] : [])]
    return this.#events.once(name, AbortSignal.any(signals))
  }

  /**
   * Sends a message to one peer (`to`) or to everyone.
   *
   * To one: resolves and rejects as `peer.send` does. To everyone this peer links to, those included that are still
   * connecting: never rejects for a peer that could not be reached; the report names it. Messages are up to 16 MiB.
   */
  async send(data: MessageData, options: SendOptions & { readonly to?: Peer | string } = {}): Promise<SendReport> {
    this.#requireOpen()
    const { to, ...rest } = options
    if (to !== undefined) return sendTo(this.#roster.known, to, data, rest)
    const bytes = encodeMessage(data)
    // Membership changes received so far count: a broadcast right after `join` has targets.
    if (this.#work.pending > 0) await this.#work.idle
    return broadcast(this.#roster.known.values(), bytes, rest)
  }

  /**
   * Messages as an async iterable, from now on; ends when the swarm closes, throws ABORTED. A loop that falls 1,024 messages
   * behind slows the senders down instead of losing any.
   */
  messages(options: { readonly signal?: AbortSignal } = {}): AsyncIterable<Message> {
    return this.#inbox.messages(options.signal)
  }

  /** Answers requests of peers (`peer.request`). One handler at a time; the returned function removes it. */
  onRequest(handler: RequestHandler): () => void {
    return this.#inbox.answer(handler)
  }

  /** Replaces this peer's state, which the others see as an 'update'. At most 1,024 bytes (RECORD_STATE). */
  setState(state: Uint8Array): void {
    this.#requireOpen()
    this.homes.setState(state)
  }

  /** Leaves: messages on their way are given a second, then the others see the departure at once. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { connections, clock } = this.#parts
    this.#setStatus('closed')
    this.#timer?.cancel()
    this.#inbox.end()
    const deadline = new AbortController()
    const timer = clock.schedule(CLOSE_DRAIN_MS, () => deadline.abort())
    const links = [...this.#roster.known.values()].map((peer) => connections.get(peer.key)?.linked?.link)
    await Promise.all(links.map((link) => link?.drained({ signal: deadline.signal }).catch(() => undefined)))
    timer.cancel()
    // Goodbyes first: the server passes nothing on for a peer that left.
    await connections.unregister(this.#handle)
    await this.homes.leave()
    const error = swarmClosed()
    this.#roster.close(error)
    this.#joined.reject(error)
    this.#lifetime.abort(error)
    this.#events.clear()
    await this.#parts.onClosed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal Registers and joins; resolves when a server has this peer. */
  async start(): Promise<void> {
    this.#parts.connections.register(this.#handle)
    this.homes.join()
    this.#housekeep()
    await this.#joined.promise
  }

  /** @internal This process slept: nothing that passed meanwhile says anything of the others, but own records grew old. */
  check(): void {
    this.#roster.startOver()
    this.homes.check()
  }

  /** @internal Every server is closed for good. */
  fail(error: MeshError): void {
    this.#joined.reject(error)
    this.#events.emit('error', error)
    // Whoever calls close() hears of a failure; nobody else is left to tell.
    this.close().catch(() => undefined)
  }

  #makeHandle(): TopicHandle {
    const { party, options } = this.#parts
    return {
      name: toHex(party.topic),
      topic: party.topic,
      admission: options.admission ?? partyAdmission(party),
      relay: options.relay ?? 'fallback',
      allowsDirect: (peerKey) => this.#roster.known.get(formatPeerId(peerKey))?.directAllowed ?? true,
      self: () => this.homes.self,
      verify: (record) => {
        const kind = MembershipKind.JOIN
        return verifyRecord(record, { nowMs: this.#parts.signal.wallMs(), topic: party.topic, kind })
      },
      records: (peerKey) => this.homes.members.records(peerKey),
      accepts: (record) => this.#status !== 'closed' && this.#roster.hasRoomFor(record),
      attached: (connection, record, directOnly) => this.#roster.onAttached(connection, record, directOnly),
      detached: (connection, error) => this.#roster.onDetached(connection, error),
      channel: (connection, channel) => this.#onChannel(connection, channel),
      changed: (connection) => this.#roster.onChanged(connection),
      restarted: (connection) => this.#roster.onRestarted(connection),
    }
  }

  #apply(changes: readonly MemberChange[]): void {
    if (this.#status !== 'closed') this.#roster.apply(changes)
  }

  #onChannel(connection: PeerConnection, channel: LinkChannel): void {
    const peer = this.#roster.known.get(connection.id)
    if (peer) this.#inbox.take(peer, channel)
    else channel.reset()
  }

  /** Joined, or not, at some server; before the first time, until no server will have this peer. */
  #onStatus(): void {
    const { isJoined, refusal } = this.homes
    if (this.#status !== 'joining') this.#setStatus(isJoined ? 'joined' : 'reconnecting')
    else if (refusal) this.#joined.reject(refusal)
  }

  /** The slow timer: what expired without a word, what did not come back, and a fresh look at the topology. */
  #housekeep(): void {
    this.#timer = this.#parts.clock.schedule(RECONCILE_MS, () => {
      this.#work.run(() => {
        this.#roster.watch()
        this.homes.expire()
      })
      this.#housekeep()
    })
  }

  #requireOpen(): void {
    if (this.#status === 'closed') throw swarmClosed()
  }

  #setStatus(status: SwarmStatus): void {
    if (this.#status === status || this.#status === 'closed') return
    this.#status = status
    this.#events.emit('status', status)
  }
}

function swarmClosed(): MeshError {
  return new MeshError(ErrorReason.LINK_CLOSED, 'this swarm was closed')
}
