import {
  type AeadFactory,
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
import type { Hello, HelloReply, Knock, Packet, Refusal, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import type { LinkChannel, PathName } from '../link/index.ts'
import { sameProcess } from '../signal/session-order.ts'
import { linkKeys, requireOwnRecord, sealTo } from './handshake.ts'
import { LinkedPeer } from './linked-peer.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { CALL_TIMEOUT_MS, OutgoingCall } from './outgoing-call.ts'
import type { RtcFactory, RtcIceServer } from './rtc.ts'
import type { TopicHandle } from './topic-handle.ts'
import { type Want, Wants } from './wants.ts'

/**
 * The one connection to another peer, whatever the number of swarms they share:
 *
 *   idle ── wanted ──▶ calling (lower key: Hello sent)   ── HelloReply ──▶ linked
 *     ▲                waiting (higher key: knocks)      ── Hello ───────▶   │
 *     └───────── refused, timed out, link closed: backoff ◀─────────────────┘
 *
 * It is wanted as long as at least one swarm wants it; what is wanted is stored (Wants), and every event compares it with
 * what is (#reconcile). After an hour, or 2^32 packets, the lower key calls again to replace the link's keys.
 */
export interface ConnectionContext {
  readonly clock: Clock
  readonly random: Random
  readonly key: SigningKey
  readonly rtc: RtcFactory | undefined
  readonly aead: AeadFactory | undefined
  readonly iceServers: () => readonly RtcIceServer[]
  readonly limits: () => SessionLimits | undefined
  /** True while messages can go through a server. */
  readonly relayUp: () => boolean
  readonly handle: (name: string) => TopicHandle | undefined
  /** Signal.seq of the next signal. Outlives connections: a peer that comes back has not forgotten the last one. */
  readonly nextSeq: () => bigint
  readonly send: (to: Uint8Array, topic: Uint8Array, toSession: Uint8Array, payload: Uint8Array) => Promise<unknown>
  /** Waits for a turn to hold an RTC attempt. */
  readonly rtcTurn: () => Promise<() => void>
  /** Waits for a turn to open a link. */
  readonly linkTurn: () => Promise<() => void>
  /** A link said goodbye and is about to end. */
  readonly closing: (ended: Promise<void>) => void
  /** Nothing wants this connection any more. */
  readonly unused: (connection: PeerConnection) => void
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'calling'; readonly call: OutgoingCall; readonly endTurn: () => void }
  | { readonly kind: 'linked'; readonly linked: LinkedPeer; readonly order: bigint }

interface SentReply {
  readonly connectionId: Uint8Array
  readonly handle: TopicHandle
  readonly toSession: Uint8Array
  readonly payload: Uint8Array
}

const NO_CONNECTION = new Uint8Array(0)
/** Signals and verifications of one peer under way at once. */
const MAX_PENDING_SIGNALS = 64
/** The lower key calls at once when both are online; a knock before that would only double the traffic. */
const KNOCK_AFTER_MS = 1_000
const KNOCK_AGAIN_MS = 2_000
const BACKOFF = { initialMs: 500, maxMs: 60_000, floorMs: 100 }
const STABLE_MS = 5_000
const REKEY_AFTER_MS = 3_600_000
/** Below the 2^32 packets a key may seal (MAX_PACKETS_PER_KEY), by a minute of the fastest link. */
const REKEY_AFTER_PACKETS = 2n ** 32n - 2n ** 24n
const REKEY_CHECK_MS = 60_000

export class PeerConnection {
  readonly key: Uint8Array
  readonly id: string
  readonly role: 'lower' | 'higher'
  readonly #context: ConnectionContext
  readonly #wants = new Wants()
  readonly #signals: OrderedQueue
  readonly #backoff: Backoff
  #state: State = { kind: 'idle' }
  /** While idle: when to try again. */
  #retry: Timer | undefined
  #rekeyCheck: Timer | undefined
  #rekeying: OutgoingCall | undefined
  #reply: SentReply | undefined
  #keyedAtMs = 0
  #closed = false
  /** Why the last try for a link failed. */
  lastError: MeshError | undefined

  constructor(context: ConnectionContext, key: Uint8Array, role: 'lower' | 'higher') {
    this.#context = context
    this.key = key
    this.id = formatPeerId(key)
    this.role = role
    this.#backoff = new Backoff({ ...BACKOFF, random: context.random })
    this.#signals = new OrderedQueue(MAX_PENDING_SIGNALS, (error) => this.#note(error))
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
    this.#wants.set(handle, record)
    this.#recordChanged(record)
    this.#reconcile()
  }

  /** The directory no longer lists the peer. `said`: its own signed LEAVE says so, and then the link ends at once. */
  unlisted(handle: TopicHandle, said: boolean): void {
    if (said) return this.unwant(handle, new MeshError(ErrorReason.PEER_LEFT, 'the peer left the swarm'))
    if (this.#wants.unlist(handle)) this.#reconcile()
  }

  /** A swarm does not want this peer any more. */
  unwant(handle: TopicHandle, error?: MeshError): void {
    if (!this.#wants.delete(handle)) return
    this.linked?.attachments.detach(handle.name, error)
    if (this.#state.kind === 'calling' && this.#state.call.handle === handle) this.#endCall()
    this.#reconcile()
  }

  /** The signaling connection came up, went down, or got a new session. */
  signalChanged(newSession: boolean): void {
    if (newSession) {
      this.#reply = undefined
      this.#endRekeying()
      this.#endCall()
    }
    this.#reconcile()
  }

  /** Tries again now what waits for a backoff. */
  retry(): void {
    this.#tryNow()
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

  receivePackets(connectionId: Uint8Array, packets: readonly Packet[]): void {
    const state = this.#state
    if (state.kind === 'linked') state.linked.receiveRelayed(connectionId, packets)
    else if (state.kind === 'calling' && state.call.isFor(connectionId)) state.call.hold({ connectionId, packets })
  }

  /** Says goodbye and forgets everything. */
  close(error: MeshError): void {
    this.#closed = true
    this.#wants.clear()
    this.#retry?.cancel()
    this.#endCall()
    this.linked?.close(error)
  }

  /** Compares what is wanted with what is. */
  #reconcile(): void {
    if (this.#closed) return
    const { relayUp, unused } = this.#context
    const listed = this.#wants.listed()
    if (this.#state.kind === 'linked') return this.#reconcileLink(this.#state.linked, listed !== undefined)
    if (this.#wants.size === 0) {
      this.#retry?.cancel()
      return unused(this)
    }
    if (this.#state.kind === 'calling' || this.#retry || !listed || !relayUp()) return
    if (this.role === 'lower') this.#call().catch((error: unknown) => this.#failed(MeshError.from(error)))
    else this.#later(KNOCK_AFTER_MS, () => this.#knock())
  }

  #reconcileLink(linked: LinkedPeer, listed: boolean): void {
    linked.setRelay(listed && this.#context.relayUp())
    // The server says the peer is gone, and no live path says otherwise.
    if (!listed && linked.path !== 'direct')
      return linked.close(new MeshError(ErrorReason.PEER_LEFT, 'the peer is gone'))
    for (const { handle } of this.#wants) linked.attachments.attach(handle)
  }

  #later(delayMs: number, run: () => void): void {
    this.#retry?.cancel()
    this.#retry = this.#context.clock.schedule(delayMs, () => {
      this.#retry = undefined
      run()
    })
  }

  #tryNow(): void {
    this.#backoff.reset()
    this.#retry?.cancel()
    this.#retry = undefined
  }

  /** Lower key: waits for a turn, then calls. */
  async #call(): Promise<void> {
    // Holds further calls off while this one waits for its turn.
    this.#later(CALL_TIMEOUT_MS, () => this.#reconcile())
    const endTurn = await this.#context.linkTurn()
    const want = this.#wants.listed()
    if (this.#state.kind !== 'idle' || this.#closed || !want) return endTurn()
    this.#retry?.cancel()
    this.#retry = undefined
    const call = this.#makeCall(want, NO_CONNECTION, () => this.#failed(this.lastError ?? linkTimeout()))
    if (!call) return endTurn()
    this.#setState({ kind: 'calling', call, endTurn })
    await call.start()
  }

  #makeCall(want: Want, previousConnectionId: Uint8Array, onTimeout: () => void): OutgoingCall | undefined {
    const { clock, random, send } = this.#context
    const self = want.handle.self()
    return (
      self &&
      new OutgoingCall({
        clock,
        handle: want.handle,
        self,
        remote: want.record,
        connectionId: random.bytes(16),
        previousConnectionId,
        seq: this.#context.nextSeq(),
        send: (toSession, payload) => {
          send(this.key, want.handle.topic, toSession, payload).catch((error: MeshError) => this.#note(error))
        },
        onTimeout,
      })
    )
  }

  #endCall(): void {
    if (this.#state.kind !== 'calling') return
    const { call, endTurn } = this.#state
    call.end()
    endTurn()
    this.#setState({ kind: 'idle' })
  }

  #failed(error: MeshError): void {
    this.#endCall()
    if (this.#closed || this.#state.kind !== 'idle') return
    this.#note(error)
    this.#later(Math.max(this.#backoff.next(), error.retryAfterMs), () => this.#reconcile())
  }

  /** Higher key: asks for a Hello, until there is a link. */
  #knock(): void {
    const want = this.#wants.listed()
    const self = want?.handle.self()
    if (!want || !self || this.#state.kind !== 'idle') return
    this.#later(Math.max(this.#backoff.next(), KNOCK_AGAIN_MS), () => this.#knock())
    const body: Signal['body'] = { case: 'knock', value: { $typeName: 'mesh.peer.v1.Knock', record: self.record } }
    this.#answer(want, new Uint8Array(16), body).catch((error: unknown) => this.#note(MeshError.from(error)))
  }

  /** Seals one signal to the session in the record and sends it. */
  async #answer(want: Want, connectionId: Uint8Array, body: Signal['body']): Promise<void> {
    const self = want.handle.self()
    if (!self) return
    const { payload } = await sealTo(self, want.record, this.#context.nextSeq(), connectionId, body)
    await this.#context.send(this.key, want.handle.topic, want.record.record.sessionId, payload)
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

  /** Higher key: verifies, answers, and has a link (or new keys for the one it has). */
  async #onHello(handle: TopicHandle, signal: Signal, hello: Hello, exported: Uint8Array): Promise<void> {
    const self = handle.self()
    if (this.role !== 'higher' || !self || !hello.record) return
    const record = await handle.verify(hello.record)
    requireOwnRecord(signal, record)
    if (!handle.accepts(record)) return this.#refuse({ handle, record, listed: true }, signal)
    const { connectionId } = signal
    const current = this.linked
    const rekeyed = current && equalBytes(current.connectionId, hello.previousConnectionId) ? current : undefined
    const reply = await sealTo(self, record, this.#context.nextSeq(), connectionId, {
      case: 'helloReply',
      value: { $typeName: 'mesh.peer.v1.HelloReply', record: self.record, resumed: rekeyed !== undefined },
    })
    const keys = await linkKeys(
      self,
      record,
      'higher',
      connectionId,
      { hello: exported, helloReply: reply.exported },
      this.#context.aead,
    )
    this.#reply = { connectionId, handle, toSession: record.record.sessionId, payload: reply.payload }
    this.#sendReply(this.#reply)
    if (rekeyed) return rekeyed.rekey(connectionId, keys, false)
    this.#wants.set(handle, record)
    this.#openLink(keys, connectionId, record)
  }

  #refuse(want: Want, signal: Signal): Promise<void> {
    const error = new MeshError(ErrorReason.LINK_REFUSED, 'this side has no room for another peer').toDetail()
    const body: Signal['body'] = { case: 'refusal', value: { $typeName: 'mesh.peer.v1.Refusal', error } }
    return this.#answer(want, signal.connectionId, body)
  }

  #repeatReply(signal: Signal): void {
    const reply = this.#reply
    if (reply && signal.body.case === 'hello' && equalBytes(reply.connectionId, signal.connectionId))
      this.#sendReply(reply)
  }

  #sendReply({ handle, toSession, payload }: SentReply): void {
    this.#context.send(this.key, handle.topic, toSession, payload).catch((error: MeshError) => this.#note(error))
  }

  /** Lower key: the other side answered a call. */
  async #onHelloReply(signal: Signal, reply: HelloReply, exported: Uint8Array): Promise<void> {
    const state = this.#state
    const calling = state.kind === 'calling' ? state.call : undefined
    const call = [calling, this.#rekeying].find((candidate) => candidate?.isFor(signal.connectionId))
    if (!call?.exported || !reply.record) return
    const record = await call.handle.verify(reply.record)
    requireOwnRecord(signal, record)
    const exports = { hello: call.exported, helloReply: exported }
    const keys = await linkKeys(call.self, record, 'lower', call.connectionId, exports, this.#context.aead)
    if (call === this.#rekeying) return this.#onRekeyed(call, reply, keys)
    if (this.#state !== state) return
    this.#endCall()
    this.#wants.set(call.handle, record)
    this.#openLink(keys, call.connectionId, record)
    for (const early of call.early) this.receivePackets(early.connectionId, early.packets)
  }

  #onRefusal(signal: Signal, { error: detail }: Refusal): void {
    if (this.#state.kind !== 'calling' || !this.#state.call.isFor(signal.connectionId)) return
    const message = 'the other peer refused the link'
    this.#failed(detail ? MeshError.fromDetail(detail, message) : new MeshError(ErrorReason.LINK_REFUSED, message))
  }

  /** Lower key: the other side wants a link and has none. */
  async #onKnock(handle: TopicHandle, signal: Signal, knock: Knock): Promise<void> {
    if (this.role !== 'lower' || !knock.record || this.#state.kind === 'calling') return
    const record = await handle.verify(knock.record)
    requireOwnRecord(signal, record)
    if (!handle.accepts(record)) return this.#refuse({ handle, record, listed: true }, signal)
    // What is left of a link here is an older life of the peer.
    this.linked?.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer lost the link', { retryable: true }))
    this.#tryNow()
    this.want(handle, record)
  }

  #openLink(keys: LinkKeys, connectionId: Uint8Array, record: VerifiedRecord): void {
    const previous = this.#state
    if (previous.kind === 'linked') {
      previous.linked.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer opened a new link'))
      if (!sameProcess(previous.order, record.record.sessionOrder)) this.#restarted()
    }
    this.#endCall()
    this.#retry?.cancel()
    this.#retry = undefined
    this.lastError = undefined
    this.#keyedAtMs = this.#context.clock.monotonicMs()
    const linked = new LinkedPeer({
      context: this.#context,
      connection: this,
      keys,
      connectionId,
      topicForRelay: () => this.#wants.listed()?.handle.topic,
      onChange: () => this.#linkChanged(),
      onClosed: (error) => this.#linkClosed(linked, error),
    })
    this.#setState({ kind: 'linked', linked, order: record.record.sessionOrder })
    if (this.role === 'lower') this.#watchKeys(linked)
    this.#reconcile()
  }

  #linkChanged(): void {
    this.#changed()
    this.#reconcile()
  }

  #linkClosed(linked: LinkedPeer, error: MeshError): void {
    if (this.linked !== linked) return
    this.#rekeyCheck?.cancel()
    this.#endRekeying()
    this.#reply = undefined
    this.lastError = error
    this.#setState({ kind: 'idle' })
    if (this.#closed) return
    if (this.#context.clock.monotonicMs() - this.#keyedAtMs > STABLE_MS) this.#backoff.reset()
    // A peer that said goodbye is leaving: its departure, or a newer record, follows.
    if (this.#wants.size > 0) this.#later(this.#backoff.next(), () => this.#reconcile())
    else this.#reconcile()
  }

  /** A newer record of the peer: what was agreed with an older process or session of it is worth nothing any more. */
  #recordChanged(record: VerifiedRecord): void {
    const state = this.#state
    const { sessionOrder } = record.record
    if (state.kind === 'calling' && state.call.isStaleFor(record)) return this.#endCall()
    if (state.kind !== 'linked' || sessionOrder <= state.order || sameProcess(state.order, sessionOrder)) return
    this.#restarted()
    state.linked.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer restarted', { retryable: true }))
    this.#tryNow()
  }

  #watchKeys(linked: LinkedPeer): void {
    this.#rekeyCheck?.cancel()
    this.#rekeyCheck = this.#context.clock.schedule(REKEY_CHECK_MS, () => {
      const ageMs = this.#context.clock.monotonicMs() - this.#keyedAtMs
      if (ageMs >= REKEY_AFTER_MS || linked.sealed >= REKEY_AFTER_PACKETS) this.#rekey(linked)
      this.#watchKeys(linked)
    })
  }

  /** Lower key: agrees new keys for the link; the old ones serve until then. */
  #rekey(linked: LinkedPeer): void {
    const want = this.#wants.listed()
    if (!want) return
    this.#endRekeying()
    this.#rekeying = this.#makeCall(want, linked.connectionId, () => this.#endRekeying())
    this.#rekeying?.start().catch((error: unknown) => this.#note(MeshError.from(error)))
  }

  #onRekeyed(call: OutgoingCall, reply: HelloReply, keys: LinkKeys): void {
    if (this.#rekeying !== call) return
    this.#endRekeying()
    if (!this.linked) return
    if (!reply.resumed) {
      return this.linked.close(
        new MeshError(ErrorReason.LINK_CLOSED, 'the other peer lost the link', { retryable: true }),
      )
    }
    this.linked.rekey(call.connectionId, keys, true)
    this.#keyedAtMs = this.#context.clock.monotonicMs()
  }

  #endRekeying(): void {
    this.#rekeying?.end()
    this.#rekeying = undefined
  }

  #restarted(): void {
    for (const { handle } of this.#wants) handle.restarted(this)
  }

  #note(error: MeshError): void {
    this.lastError = error
    this.#changed()
  }

  #setState(state: State): void {
    this.#state = state
    this.#changed()
  }

  #changed(): void {
    for (const { handle } of this.#wants) handle.changed(this)
  }
}

function linkTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, `the peer did not answer within ${CALL_TIMEOUT_MS} ms`, {
    retryable: true,
  })
}
