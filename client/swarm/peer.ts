import { type Clock, ErrorReason, equalBytes, formatPeerId, MeshError, type VerifiedRecord } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { type Diagnosis, diagnose } from '../connection/diagnosis.ts'
import type { PeerConnection } from '../connection/peer-connection.ts'
import { supersedes } from '../connection/record-order.ts'
import type { Link, LinkChannel } from '../link/index.ts'
import { sameProcess } from '../signal/session-order.ts'
import { CHANNEL_KINDS, Channel } from './channel.ts'
import { Emitter, throwLater } from './emitter.ts'
import { LINK_WAIT_MS, LinkWait } from './link-wait.ts'
import { encodeMessage, type Message, type MessageData } from './message.ts'
import type { OpenChannelOptions, RequestOptions, SendOptions } from './peer-calls.ts'
import type { PeerChange } from './peer-change.ts'
import type { PeerEvents, PeerPath } from './peer-events.ts'
import { asleep, type PeerPresence, Presence } from './presence.ts'
import { askPeer } from './requests.ts'

/** What a peer needs from its swarm. */
export interface PeerContext {
  readonly topic: Uint8Array
  readonly clock: Clock
  readonly dropped: Diagnosis['dropped']
}

const REQUEST_TIMEOUT_MS = 30_000

/** Another member of the swarm, admitted by its key. The same object for as long as it stays. */
export class Peer {
  /** Text form of the key, for people and for `send({ to })`. */
  readonly id: string
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array
  readonly #context: PeerContext
  #record: VerifiedRecord
  #connection: PeerConnection | undefined
  readonly #presence: Presence
  /** Unix time of the newest record, by this side's clock. */
  #recordedAtMs: number
  #attached = false
  /** Data goes by the direct path only. */
  #directOnly = false
  #directAllowed = true
  #lastPath: PeerPath = 'none'
  #gone: MeshError | undefined
  #messages: LinkChannel | undefined
  readonly #wait: LinkWait
  readonly #events = new Emitter<PeerEvents>(throwLater)
  /** Sends and requests that wait for the other side. */
  #unacknowledged = 0

  /** Peers are made by their swarm. */
  constructor(context: PeerContext, record: VerifiedRecord) {
    this.#context = context
    this.#record = record
    const { clock } = context
    this.#presence = new Presence(clock.monotonicMs())
    this.#recordedAtMs = Math.min(Number(record.record.issuedAtMs), clock.wallMs())
    this.key = record.record.peerKey
    this.id = formatPeerId(this.key)
    this.#wait = new LinkWait({
      clock,
      id: this.id,
      usable: () => this.usable,
      gone: () => this.#gone,
      late: () => this.#noLink(),
    })
  }

  /** Calls `listener` for every event of that name, until the returned function is called. */
  on<Name extends keyof PeerEvents & string>(name: Name, listener: (event: PeerEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  /** 'away': there has been no way to the peer for 15 s, or its server has waited as long for it. It may be asleep, and stays in the swarm for a while. */
  get presence(): PeerPresence {
    return this.#presence.current
  }

  /** Unix time at which something that only the peer can have made came last, by whatever path: a packet, or a record. */
  get lastSeenMs(): number {
    return Math.max(this.#recordedAtMs, this.#connection?.heardAtMs ?? 0)
  }

  /** What the peer says about itself (MembershipRecord.state), at most 1 KiB; signed by it, readable by servers. */
  get state(): Uint8Array {
    return this.#record.record.state
  }

  /** How messages travel now. Changes are told by `on('path')`, here and at the swarm. */
  get path(): PeerPath {
    const path = (this.#attached && this.#connection?.path) || 'none'
    return path === 'relay' && this.#directOnly ? 'none' : path
  }

  /** Whether a direct path with this peer is allowed, which it is unless `allowDirect` said otherwise. */
  get directAllowed(): boolean {
    return this.#directAllowed
  }

  /**
   * Forbids a direct path with this peer, and gives up the one there is; or allows it again, and tries at once. Meanwhile messages
   * go through the server, or wait where the swarm's `relay` is 'never'. Another swarm that shares the link may hold on to it.
   */
  allowDirect(allowed: boolean): void {
    this.#directAllowed = allowed
    this.#connection?.linked?.direct.reconsider()
  }

  get connection(): 'idle' | 'calling' | 'linked' {
    return this.#connection?.state ?? 'idle'
  }

  /** Smoothed round-trip time of the path in use, in milliseconds. */
  get rttMs(): number | undefined {
    return this.#connection?.linked?.link.rttMs
  }

  /**
   * Sends one message, up to 16 MiB. Resolves when the peer's SDK has it, in order; messages of one sender never overtake
   * each other. Rejects with MESSAGE_TOO_LARGE, PEER_LEFT, ABORTED, LINK_TIMEOUT (no link within 15 s), PEER_ASLEEP (no path
   * within 15 s), or, when the link ended first, with PEER_RESTARTED or LINK_CLOSED: then it is not known whether the message
   * arrived. What has left when a peer falls asleep waits for it: until it is back or leaves the swarm.
   */
  async send(data: MessageData, options: SendOptions = {}): Promise<void> {
    const bytes = encodeMessage(data)
    await this.#wait.run(options.signal, () => this.#counted(this.#messageChannel().sendMessage(bytes, options)))
  }

  /**
   * Asks and waits for the answer of the peer's `onRequest` handler. Rejects as `send` does, with DEADLINE_EXCEEDED after
   * `timeoutMs`, or with REQUEST_FAILED (or the reason the handler gave) when the handler failed or there is none.
   */
  async request(data: MessageData, options: RequestOptions = {}): Promise<Message> {
    const timeoutMs = options.timeoutMs ?? REQUEST_TIMEOUT_MS
    const deadline = new AbortController()
    const timer = this.#context.clock.schedule(timeoutMs, () => {
      const message = `no answer within ${timeoutMs} ms`
      deadline.abort(new MeshError(ErrorReason.DEADLINE_EXCEEDED, message, { retryable: true }))
    })
    const signal = options.signal ? AbortSignal.any([options.signal, deadline.signal]) : deadline.signal
    try {
      const bytes = encodeMessage(data)
      return await this.#wait.run(signal, () => this.#counted(this.#exchange(bytes, signal)))
    } finally {
      timer.cancel()
    }
  }

  /**
   * Opens a named channel. Rejects like `send` when there is no link; data may be written at once. A peer whose version knows no
   * datagrams ends such a channel with NOT_SUPPORTED.
   */
  async open(name: string, options: OpenChannelOptions = {}): Promise<Channel> {
    const kind = CHANNEL_KINDS[options.kind ?? 'bytes']
    if (kind === undefined) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `there are no channels of kind ${JSON.stringify(options.kind)}`)
    }
    if (name === '' && kind === ChannelKind.MESSAGES) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        'a message channel needs a name: the unnamed one carries send()',
      )
    }
    const { topic } = this.#context
    return this.#wait.run(options.signal, () => new Channel(this, this.#linked().openChannel({ topic, name, kind })))
  }

  /** What the connection to this peer is doing, and what to do about what fails. */
  async diagnose(): Promise<Diagnosis> {
    return diagnose(this.#connection, { path: this.path, gone: this.#gone, dropped: this.#context.dropped })
  }

  /** @internal The swarm's view of this peer changed. True when its state or process did; refreshing a record is no news. */
  update(change: PeerChange): boolean {
    const { record: before } = this.#record
    if (change.record || change.expired) this.#presence.expired = change.expired === true
    if (change.record && supersedes(change.record.record, before)) {
      this.#record = change.record
      this.#recordedAtMs = this.#context.clock.wallMs()
    }
    if (change.connection) this.#connection = change.connection
    this.#directOnly = change.directOnly ?? this.#directOnly
    if (change.attached !== undefined && change.attached !== this.#attached) {
      this.#attached = change.attached
      this.#messages = undefined
      this.#wait.wake()
    }
    const { record } = this.#record
    const newState = !equalBytes(record.state, before.state)
    if (newState) this.#events.emit('state', record.state)
    return newState || !sameProcess(record.sessionOrder, before.sessionOrder)
  }

  /** @internal The peer left: whatever waits fails. */
  leave(error: MeshError): void {
    this.#gone = error
    this.#attached = false
    this.#wait.wake()
    this.#events.emit('leave', error)
    this.#events.clear()
  }

  /** @internal Looks whether the peer is there. True when that changed. */
  look(): boolean {
    const { clock } = this.#context
    const reachable = this.#attached && this.#connection?.alive === true
    const quietForMs = clock.wallMs() - (this.#connection?.heardAtMs ?? 0)
    if (!this.#presence.look(reachable, clock.monotonicMs(), quietForMs)) return false
    this.#events.emit('presence', this.presence)
    return true
  }

  /** @internal How long there has been no way to the peer. */
  get unreachableForMs(): number {
    return this.#presence.unreachableForMs(this.#context.clock.monotonicMs())
  }

  /** @internal This side slept: what did not come meanwhile says nothing of the peer. */
  startOver(): void {
    this.#presence.startOver(this.#context.clock.monotonicMs())
  }

  /** @internal True when the path is another one than at the last call. */
  pathChanged(): boolean {
    if (this.usable) this.#wait.wake()
    const { path } = this
    if (path === this.#lastPath) return false
    this.#lastPath = path
    this.#events.emit('path', path)
    return true
  }

  /** @internal The peer's process is a new one; the link with the old one has failed what was on it. */
  restarted(): void {
    this.#events.emit('restart', { undelivered: this.#unacknowledged })
  }

  /** @internal True while there is a link with this swarm on it. */
  get attached(): boolean {
    return this.#attached
  }

  /** @internal True while messages leave at once. */
  get usable(): boolean {
    return this.path !== 'none' && this.#connection?.alive === true
  }

  #exchange(bytes: Uint8Array, signal: AbortSignal): Promise<Message> {
    const channel = this.#linked().openChannel({ topic: this.#context.topic, name: '', kind: ChannelKind.REQUEST })
    return askPeer(this, channel, bytes, signal)
  }

  /** Counts the call until after it has settled, in the turn that comes then. It rejects with why the peer is gone. */
  async #counted<T>(call: Promise<T>): Promise<T> {
    this.#unacknowledged++
    try {
      return await call
    } catch (error) {
      // By then the swarm has said whether the link ended because the peer is gone.
      throw (MeshError.from(error).reason === ErrorReason.LINK_CLOSED && this.#gone) || error
    } finally {
      this.#unacknowledged--
    }
  }

  #messageChannel(): LinkChannel {
    if (this.#messages?.state === 'open') return this.#messages
    this.#messages = this.#linked().openChannel({ topic: this.#context.topic, name: '', kind: ChannelKind.MESSAGES })
    return this.#messages
  }

  #linked(): Link {
    if (this.#attached && this.#connection?.linked) return this.#connection.linked.link
    throw new MeshError(ErrorReason.LINK_CLOSED, `there is no link to ${this.id}`, { retryable: true })
  }

  #noLink(): MeshError {
    if (this.#attached && !this.#connection?.alive) return asleep(this.id)
    const message = `no link to ${this.id} within ${LINK_WAIT_MS} ms`
    const noDirectPath = this.#directOnly ? this.#connection?.linked?.direct.lastError : undefined
    return (
      noDirectPath ??
      this.#connection?.lastError ??
      new MeshError(ErrorReason.LINK_TIMEOUT, message, { retryable: true })
    )
  }
}
