import {
  Backoff,
  type Clock,
  ErrorReason,
  equalBytes,
  formatPeerId,
  type LinkKeys,
  MeshError,
  type Random,
  type SigningKey,
  type Timer,
  type VerifiedRecord,
} from '@mesh/core'
import type { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Packet, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import type { LinkChannel, PathName } from '../link/index.ts'
import { sameProcess } from '../signal/session-order.ts'
import { type Exports, linkKeys, requireOwnRecord, sealTo } from './handshake.ts'
import { LinkedPeer } from './linked-peer.ts'
import { OrderedQueue } from './ordered-queue.ts'
import type { RtcFactory, RtcIceServer } from './rtc.ts'
import type { TopicHandle } from './topic-handle.ts'

/**
 * The one connection to another peer, whatever the number of swarms they share:
 *
 *   idle ── wanted ──▶ calling (lower key: Hello sent)  ── HelloReply ──▶ linked
 *     ▲                knocking (higher key: Knock sent) ── Hello ──────▶   │
 *     └───────── refused, timed out, link closed: backoff ◀────────────────┘
 *
 * It is wanted as long as at least one swarm wants it; what is wanted is stored, and every event compares it with what is.
 */
export interface ConnectionContext {
  readonly clock: Clock
  readonly random: Random
  readonly key: SigningKey
  readonly rtc: RtcFactory | undefined
  readonly iceServers: () => readonly RtcIceServer[]
  readonly limits: () => SessionLimits | undefined
  /** True while messages can go through a server. */
  readonly relayUp: () => boolean
  readonly handle: (name: string) => TopicHandle | undefined
  readonly send: (to: Uint8Array, topic: Uint8Array, toSession: Uint8Array, payload: Uint8Array) => Promise<unknown>
  /** Waits for a turn to hold an RTC attempt. */
  readonly rtcTurn: () => Promise<() => void>
  /** Waits for a turn to open a link. */
  readonly linkTurn: () => Promise<() => void>
  /** Nothing wants this connection any more. */
  readonly unused: (connection: PeerConnection) => void
}

interface Want {
  readonly handle: TopicHandle
  record: VerifiedRecord
  /** The directory lists the peer in this topic. */
  listed: boolean
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'calling'; readonly call: Call }
  | { readonly kind: 'linked'; readonly linked: LinkedPeer; readonly order: bigint }

interface Call {
  readonly connectionId: Uint8Array
  readonly want: Want
  readonly toSession: Uint8Array
  readonly startedAtMs: number
  readonly endTurn: () => void
  payload: Uint8Array | undefined
  exported: Uint8Array | undefined
  /** Packets that overtook the HelloReply. */
  readonly early: { connectionId: Uint8Array; packets: readonly Packet[] }[]
}

const EMPTY = new Uint8Array(0)
/** Signals and verifications of one peer under way at once. */
const MAX_PENDING_SIGNALS = 64
const MAX_EARLY_BATCHES = 16
const HELLO_REPEAT_MS = 2_000
const OPEN_TIMEOUT_MS = 10_000
/** The lower key calls at once when both are online; a knock before that would only double the traffic. */
const KNOCK_AFTER_MS = 1_000
const BACKOFF = { initialMs: 500, maxMs: 60_000, floorMs: 100 }
const STABLE_MS = 5_000
const REKEY_AFTER_MS = 3_600_000
const REKEY_AFTER_PACKETS = 2n ** 32n - 2n ** 16n
const REKEY_CHECK_MS = 60_000

export class PeerConnection {
  readonly key: Uint8Array
  readonly id: string
  readonly role: 'lower' | 'higher'
  readonly #context: ConnectionContext
  readonly #wants = new Map<string, Want>()
  readonly #signals: OrderedQueue
  readonly #backoff: Backoff
  #state: State = { kind: 'idle' }
  #timer: Timer | undefined
  #rekeyTimer: Timer | undefined
  #rekey: { connectionId: Uint8Array; exported: Uint8Array; order: bigint } | undefined
  #reply: { connectionId: Uint8Array; to: Want; payload: Uint8Array } | undefined
  #linkedAtMs = 0
  #signalSeq = 0n
  #closed = false
  /** Why the last try for a link failed. */
  lastError: MeshError | undefined

  constructor(context: ConnectionContext, key: Uint8Array, role: 'lower' | 'higher') {
    this.#context = context
    this.key = key
    this.id = formatPeerId(key)
    this.role = role
    this.#backoff = new Backoff({ ...BACKOFF, random: context.random })
    this.#signals = new OrderedQueue(MAX_PENDING_SIGNALS, (error) => {
      this.lastError = error
    })
  }

  get state(): 'idle' | 'calling' | 'linked' {
    return this.#state.kind
  }

  get linked(): LinkedPeer | undefined {
    return this.#state.kind === 'linked' ? this.#state.linked : undefined
  }

  get path(): PathName | undefined {
    return this.linked?.path
  }

  /** A swarm wants this peer, or has a newer record of it. */
  want(handle: TopicHandle, record: VerifiedRecord): void {
    const known = this.#wants.get(handle.name)
    if (known) {
      known.record = record
      known.listed = true
    } else {
      this.#wants.set(handle.name, { handle, record, listed: true })
    }
    this.#recordChanged(record)
    this.#reconcile()
  }

  /** The directory no longer lists the peer. `said`: its own signed LEAVE says so, and then the link ends at once. */
  unlisted(handle: TopicHandle, said: boolean): void {
    const want = this.#wants.get(handle.name)
    if (!want) return
    want.listed = false
    if (said) return this.unwant(handle, new MeshError(ErrorReason.PEER_LEFT, 'the peer left the swarm'))
    this.#reconcile()
  }

  /** A swarm does not want this peer any more. */
  unwant(handle: TopicHandle, error?: MeshError): void {
    if (!this.#wants.delete(handle.name)) return
    this.linked?.attachments.detach(handle.name, error)
    if (this.#state.kind === 'calling' && this.#state.call.want.handle === handle) this.#endCall()
    this.#reconcile()
  }

  /** The signaling connection came up, went down, or got a new session. */
  signalChanged(newSession: boolean): void {
    if (newSession) {
      this.#reply = undefined
      this.#rekey = undefined
      if (this.#state.kind === 'calling') this.#endCall()
    }
    this.#reconcile()
  }

  /** Tries again now what waits for a backoff. */
  retry(): void {
    this.#backoff.reset()
    this.#timer?.cancel()
    this.#timer = undefined
    this.linked?.direct.retry()
    this.#reconcile()
  }

  /** Opens a channel of an attached topic. Throws LINK_CLOSED when there is no link. */
  openChannel(options: { topic: Uint8Array; name: string; kind: ChannelKind }): LinkChannel {
    if (!this.linked) throw new MeshError(ErrorReason.LINK_CLOSED, 'there is no link to the peer', { retryable: true })
    return this.linked.link.openChannel(options)
  }

  /** A verified signal of this peer, in order. `replayed`: its seq was seen before. */
  receiveSignal(handle: TopicHandle, signal: Signal, exported: Uint8Array, replayed: boolean): void {
    this.#signals.run(async () => {
      if (this.#closed) return
      try {
        await this.#dispatch(handle, signal, exported, replayed)
      } finally {
        // A stranger whose Hello was not good enough leaves nothing behind.
        if (this.#wants.size === 0 && this.#state.kind === 'idle') this.#context.unused(this)
      }
    })
  }

  async #dispatch(handle: TopicHandle, signal: Signal, exported: Uint8Array, replayed: boolean): Promise<void> {
    if (replayed) return this.#repeatReply(signal)
    switch (signal.body.case) {
      case 'hello':
        return this.#onHello(handle, signal, signal.body.value, exported)
      case 'helloReply':
        return this.#onHelloReply(signal, signal.body.value, exported)
      case 'refusal':
        return this.#onRefusal(signal, signal.body.value)
      case 'knock':
        return this.#onKnock(handle, signal, signal.body.value)
    }
  }

  receivePackets(connectionId: Uint8Array, packets: readonly Packet[]): void {
    const state = this.#state
    if (state.kind === 'linked') return state.linked.receiveRelayed(connectionId, packets)
    if (state.kind !== 'calling' || !equalBytes(state.call.connectionId, connectionId)) return
    if (state.call.early.length < MAX_EARLY_BATCHES) state.call.early.push({ connectionId, packets })
  }

  /** Says goodbye and forgets everything. */
  close(error: MeshError): void {
    this.#closed = true
    this.#wants.clear()
    this.#timer?.cancel()
    if (this.#state.kind === 'calling') this.#endCall()
    this.linked?.close(error)
  }

  /** Compares what is wanted with what is. */
  #reconcile(): void {
    if (this.#closed) return
    const state = this.#state
    const listed = [...this.#wants.values()].some((want) => want.listed)
    if (state.kind === 'linked') {
      state.linked.setRelay(listed && this.#context.relayUp())
      // The server says the peer is gone, and no live path says otherwise.
      if (!listed && state.linked.path !== 'direct') {
        return state.linked.close(new MeshError(ErrorReason.PEER_LEFT, 'the peer is gone'))
      }
      for (const { handle } of this.#wants.values()) state.linked.attachments.attach(handle)
      return
    }
    if (this.#wants.size === 0) {
      this.#timer?.cancel()
      return this.#context.unused(this)
    }
    if (state.kind === 'idle' && listed && !this.#timer && this.#context.relayUp()) this.#approach()
  }

  #approach(): void {
    if (this.role === 'lower') this.#call().catch((error: unknown) => this.#failed(MeshError.from(error)))
    else this.#later(KNOCK_AFTER_MS, () => this.#knock())
  }

  #later(delayMs: number, run: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.#context.clock.schedule(delayMs, () => {
      this.#timer = undefined
      run()
    })
  }

  /** Lower key: seals a Hello and repeats it until it is answered or the time is up. */
  async #call(): Promise<void> {
    const want = this.#callable()
    if (!want) return
    const { clock, random } = this.#context
    this.#later(OPEN_TIMEOUT_MS, () => this.#failed(linkTimeout()))
    const endTurn = await this.#context.linkTurn()
    const self = want.handle.self()
    if (this.#state.kind !== 'idle' || !self || this.#wants.get(want.handle.name) !== want) return endTurn()
    const call: Call = {
      connectionId: random.bytes(16),
      want,
      toSession: want.record.record.sessionId,
      startedAtMs: clock.monotonicMs(),
      endTurn,
      payload: undefined,
      exported: undefined,
      early: [],
    }
    this.#setState({ kind: 'calling', call })
    const body = { $typeName: 'mesh.peer.v1.Hello' as const, record: self.record, previousConnectionId: EMPTY }
    const sealed = await sealTo(self, want.record, this.#nextSeq(), call.connectionId, { case: 'hello', value: body })
    call.payload = sealed.payload
    call.exported = sealed.exported
    this.#repeatHello(call)
  }

  #repeatHello(call: Call): void {
    if (this.#state.kind !== 'calling' || this.#state.call !== call || !call.payload) return
    const elapsedMs = this.#context.clock.monotonicMs() - call.startedAtMs
    if (elapsedMs >= OPEN_TIMEOUT_MS) return this.#failed(this.lastError ?? linkTimeout())
    this.#later(HELLO_REPEAT_MS, () => this.#repeatHello(call))
    this.#context.send(this.key, call.want.handle.topic, call.toSession, call.payload).catch((error: MeshError) => {
      this.lastError = error
    })
  }

  #endCall(): void {
    if (this.#state.kind !== 'calling') return
    this.#state.call.endTurn()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#setState({ kind: 'idle' })
  }

  #failed(error: MeshError): void {
    this.#endCall()
    if (this.#closed || this.#state.kind !== 'idle') return
    this.lastError = error
    this.#later(Math.max(this.#backoff.next(), error.retryAfterMs), () => this.#reconcile())
    for (const { handle } of this.#wants.values()) handle.changed(this)
  }

  /** Higher key: asks for a Hello. */
  #knock(): void {
    const want = this.#callable()
    const self = want?.handle.self()
    if (!want || !self || this.#state.kind !== 'idle') return
    this.#later(Math.max(this.#backoff.next(), HELLO_REPEAT_MS), () => this.#knock())
    const body = { $typeName: 'mesh.peer.v1.Knock' as const, record: self.record }
    this.#seal(want, new Uint8Array(16), { case: 'knock', value: body }).catch((error: unknown) => {
      this.lastError = MeshError.from(error)
    })
  }

  /** A topic the peer is listed in and this side can be reached under. */
  #callable(): Want | undefined {
    return [...this.#wants.values()].find((want) => want.listed && want.handle.self() !== undefined)
  }

  async #seal(want: Want, connectionId: Uint8Array, body: Signal['body']): Promise<void> {
    const self = want.handle.self()
    if (!self) throw new MeshError(ErrorReason.UNREACHABLE, 'there is no session to send from', { retryable: true })
    const { payload } = await sealTo(self, want.record, this.#nextSeq(), connectionId, body)
    await this.#context.send(this.key, want.handle.topic, want.record.record.sessionId, payload)
  }

  /** Higher key: verifies, answers, and has a link. */
  async #onHello(handle: TopicHandle, signal: Signal, hello: HelloBody, exported: Uint8Array): Promise<void> {
    const self = handle.self()
    if (this.role !== 'higher' || !self || !hello.record) return
    const record = await handle.verify(hello.record)
    requireOwnRecord(signal, record)
    const want: Want = { handle, record, listed: true }
    if (!handle.accepts(record)) {
      const error = new MeshError(ErrorReason.LINK_REFUSED, 'this side has no room for another peer')
      const value = { $typeName: 'mesh.peer.v1.Refusal' as const, error: error.toDetail() }
      return this.#seal(want, signal.connectionId, { case: 'refusal', value })
    }
    const state = this.#state
    const rekeyed =
      state.kind === 'linked' && equalBytes(state.linked.connectionId, hello.previousConnectionId ?? EMPTY)
        ? state.linked
        : undefined
    const body = { $typeName: 'mesh.peer.v1.HelloReply' as const, record: self.record, resumed: rekeyed !== undefined }
    const reply = await sealTo(self, record, this.#nextSeq(), signal.connectionId, { case: 'helloReply', value: body })
    const exports = { hello: exported, helloReply: reply.exported }
    const keys = await linkKeys(self, record, 'higher', signal.connectionId, exports)
    this.#reply = { connectionId: signal.connectionId, to: want, payload: reply.payload }
    this.#sendReply()
    if (rekeyed) return rekeyed.rekey(signal.connectionId, keys, false)
    this.#wants.set(handle.name, want)
    this.#openLink(keys, signal.connectionId, record)
  }

  #repeatReply(signal: Signal): void {
    if (signal.body.case === 'hello' && this.#reply && equalBytes(this.#reply.connectionId, signal.connectionId))
      this.#sendReply()
  }

  #sendReply(): void {
    if (!this.#reply) return
    const { to, payload } = this.#reply
    this.#context.send(this.key, to.handle.topic, to.record.record.sessionId, payload).catch((error: MeshError) => {
      this.lastError = error
    })
  }

  /** Lower key: the other side answered the Hello, or the rekeying. */
  async #onHelloReply(signal: Signal, reply: HelloBody, exported: Uint8Array): Promise<void> {
    const rekey = this.#rekey
    if (rekey && equalBytes(rekey.connectionId, signal.connectionId)) return this.#onRekeyed(signal, reply, exported)
    const state = this.#state
    if (state.kind !== 'calling' || !equalBytes(state.call.connectionId, signal.connectionId)) return
    const { call } = state
    const self = call.want.handle.self()
    if (!self || !call.exported || !reply.record) return
    const record = await call.want.handle.verify(reply.record)
    requireOwnRecord(signal, record)
    const keys = await this.#keys(call.want, record, call.connectionId, { hello: call.exported, helloReply: exported })
    if (this.#state !== state) return
    call.want.record = record
    this.#endCall()
    this.#openLink(keys, call.connectionId, record)
    for (const { connectionId, packets } of call.early) this.receivePackets(connectionId, packets)
  }

  #onRefusal(signal: Signal, refusal: { error?: Parameters<typeof MeshError.fromDetail>[0] | undefined }): void {
    if (this.#state.kind !== 'calling' || !equalBytes(this.#state.call.connectionId, signal.connectionId)) return
    const error = refusal.error && MeshError.fromDetail(refusal.error, 'the other peer refused the link')
    this.#failed(error ?? new MeshError(ErrorReason.LINK_REFUSED, 'the other peer refused the link'))
  }

  async #onKnock(handle: TopicHandle, signal: Signal, knock: HelloBody): Promise<void> {
    if (this.role !== 'lower' || !knock.record || this.#state.kind === 'calling') return
    const record = await handle.verify(knock.record)
    requireOwnRecord(signal, record)
    if (!handle.accepts(record)) return
    this.#backoff.reset()
    this.#timer?.cancel()
    this.#timer = undefined
    // Whoever knocks has no link: what is left of one here is an older life of the peer.
    this.linked?.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer lost the link', { retryable: true }))
    this.want(handle, record)
  }

  #keys(want: Want, record: VerifiedRecord, connectionId: Uint8Array, exports: Exports): Promise<LinkKeys> {
    const self = want.handle.self()
    if (!self) throw new MeshError(ErrorReason.UNREACHABLE, 'there is no session any more', { retryable: true })
    return linkKeys(self, record, this.role, connectionId, exports)
  }

  #openLink(keys: LinkKeys, connectionId: Uint8Array, record: VerifiedRecord): void {
    const previous = this.#state
    if (previous.kind === 'linked') {
      previous.linked.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer opened a new link'))
      if (!sameProcess(previous.order, record.record.sessionOrder)) this.#restarted()
    }
    this.#timer?.cancel()
    this.#timer = undefined
    this.#linkedAtMs = this.#context.clock.monotonicMs()
    this.lastError = undefined
    const linked = new LinkedPeer({
      context: this.#context,
      connection: this,
      keys,
      connectionId,
      topicForRelay: () => [...this.#wants.values()].find((want) => want.listed)?.handle.topic,
      onChange: () => this.#linkChanged(),
      onClosed: (error) => this.#linkClosed(linked, error),
    })
    this.#setState({ kind: 'linked', linked, order: record.record.sessionOrder })
    if (this.role === 'lower') this.#scheduleRekey()
    this.#reconcile()
  }

  #linkChanged(): void {
    for (const { handle } of this.#wants.values()) handle.changed(this)
    this.#reconcile()
  }

  #linkClosed(linked: LinkedPeer, error: MeshError): void {
    if (this.#state.kind !== 'linked' || this.#state.linked !== linked) return
    this.#rekeyTimer?.cancel()
    this.#rekey = undefined
    this.#reply = undefined
    this.lastError = error
    this.#setState({ kind: 'idle' })
    if (this.#closed) return
    if (this.#context.clock.monotonicMs() - this.#linkedAtMs > STABLE_MS) this.#backoff.reset()
    // A peer that said goodbye is leaving; its departure, or a new record, follows.
    this.#later(this.#backoff.next(), () => this.#reconcile())
    if (this.#wants.size === 0) this.#reconcile()
  }

  /** A newer record of the peer: a link to an older process of it is worth nothing any more. */
  #recordChanged(record: VerifiedRecord): void {
    const state = this.#state
    if (state.kind === 'linked' && record.record.sessionOrder > state.order) {
      if (sameProcess(state.order, record.record.sessionOrder)) return
      this.#restarted()
      state.linked.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer restarted', { retryable: true }))
      this.#backoff.reset()
      this.#timer?.cancel()
      this.#timer = undefined
    } else if (state.kind === 'calling' && state.call.want.record === record) {
      // Sealed to a session that is no more.
      if (!equalBytes(state.call.toSession, record.record.sessionId)) this.#endCall()
    }
  }

  #restarted(): void {
    for (const { handle } of this.#wants.values()) handle.restarted(this)
  }

  #scheduleRekey(): void {
    this.#rekeyTimer?.cancel()
    this.#rekeyTimer = this.#context.clock.schedule(REKEY_CHECK_MS, () => {
      const { linked } = this
      const ageMs = this.#context.clock.monotonicMs() - this.#linkedAtMs
      if (linked && (ageMs >= REKEY_AFTER_MS || linked.sealed >= REKEY_AFTER_PACKETS)) {
        this.#beginRekey(linked).catch((error: unknown) => {
          this.lastError = MeshError.from(error)
        })
      }
      this.#scheduleRekey()
    })
  }

  async #beginRekey(linked: LinkedPeer): Promise<void> {
    const want = this.#callable()
    const self = want?.handle.self()
    if (!want || !self) return
    const connectionId = this.#context.random.bytes(16)
    const previousConnectionId = linked.connectionId
    const body = { $typeName: 'mesh.peer.v1.Hello' as const, record: self.record, previousConnectionId }
    const sealed = await sealTo(self, want.record, this.#nextSeq(), connectionId, { case: 'hello', value: body })
    this.#rekey = { connectionId, exported: sealed.exported, order: want.record.record.sessionOrder }
    await this.#context.send(this.key, want.handle.topic, want.record.record.sessionId, sealed.payload)
  }

  async #onRekeyed(signal: Signal, reply: HelloBody, exported: Uint8Array): Promise<void> {
    const rekey = this.#rekey
    const want = this.#callable()
    if (!rekey || !want || !reply.record || !reply.resumed || !this.linked) return
    const record = await want.handle.verify(reply.record)
    requireOwnRecord(signal, record)
    const keys = await this.#keys(want, record, rekey.connectionId, { hello: rekey.exported, helloReply: exported })
    this.linked?.rekey(rekey.connectionId, keys, true)
    this.#linkedAtMs = this.#context.clock.monotonicMs()
    this.#rekey = undefined
  }

  #nextSeq(): bigint {
    this.#signalSeq += 1n
    return this.#signalSeq
  }

  #setState(state: State): void {
    this.#state = state
    for (const { handle } of this.#wants.values()) handle.changed(this)
  }
}

interface HelloBody {
  readonly record?: Parameters<TopicHandle['verify']>[0] | undefined
  readonly previousConnectionId?: Uint8Array
  readonly resumed?: boolean
}

function linkTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, `the peer did not answer within ${OPEN_TIMEOUT_MS} ms`, {
    retryable: true,
  })
}
