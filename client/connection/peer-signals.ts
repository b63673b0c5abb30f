import { ErrorReason, equalBytes, type LinkKeys, MeshError, type VerifiedRecord } from '@mesh/core'
import type { Hello, HelloReply, Knock, Refusal, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { ConnectionContext } from './connection-context.ts'
import { linkKeys, requireOwnRecord, sealTo } from './handshake.ts'
import type { LinkedPeer } from './linked-peer.ts'
import { OrderedQueue } from './ordered-queue.ts'
import type { OutgoingCall } from './outgoing-call.ts'
import { isOutdated } from './record-order.ts'
import { lists, type TopicHandle } from './topic-handle.ts'
import type { Want } from './wants.ts'

/**
 * The handshake signals of one peer: checks each, answers it, and tells the connection what it came to. One at a time and in
 * order, because each may wait for cryptography; what happened to the connection meanwhile is looked at again afterwards.
 */
export interface PeerSignalsOptions {
  readonly context: ConnectionContext
  readonly peerKey: Uint8Array
  readonly role: 'lower' | 'higher'
  /** What the connection knows now. */
  readonly closed: () => boolean
  readonly known: (handle: TopicHandle) => VerifiedRecord | undefined
  readonly callFor: (connectionId: Uint8Array) => OutgoingCall | undefined
  readonly linkFor: (connectionId: Uint8Array) => LinkedPeer | undefined
  /** Higher key: a Hello was answered. `replaces`: the link whose keys these replace; undefined for a new link. */
  readonly called: (answered: AnsweredHello, replaces: LinkedPeer | undefined) => void
  /** Lower key: a call was answered. `resumed`: the link named by it goes on with the new keys. */
  readonly answered: (call: OutgoingCall, record: VerifiedRecord, keys: LinkKeys, resumed: boolean) => void
  readonly refused: (call: OutgoingCall, error: MeshError) => void
  /** Lower key: the other side wants a link and has none. */
  readonly knocked: (handle: TopicHandle, record: VerifiedRecord) => void
  /** A signal that was not good enough, or could not be answered. */
  readonly failed: (error: MeshError) => void
  /** Nothing waits here any more. */
  readonly idle: () => void
}

export interface AnsweredHello {
  readonly handle: TopicHandle
  readonly record: VerifiedRecord
  readonly connectionId: Uint8Array
  readonly previousConnectionId: Uint8Array
  readonly keys: LinkKeys
}

interface SentReply {
  readonly connectionId: Uint8Array
  readonly handle: TopicHandle
  /** Own session it answers for. */
  readonly fromSession: Uint8Array
  readonly payload: Uint8Array
}

/** Signals and verifications of one peer under way at once. */
const MAX_PENDING = 64
/** A Knock is about no connection yet. */
const NO_CONNECTION_ID = new Uint8Array(16)

export class PeerSignals {
  readonly #options: PeerSignalsOptions
  readonly #queue: OrderedQueue
  #reply: SentReply | undefined
  /** Session and seq of the reply that opened the link last: a Knock from before it is out of date. */
  #opened: { session: Uint8Array; seq: bigint } | undefined

  constructor(options: PeerSignalsOptions) {
    this.#options = options
    this.#queue = new OrderedQueue(MAX_PENDING, options.failed)
  }

  /** Takes a signal whose seal and signature are good. `replayed`: its seq was seen before. */
  receive(handle: TopicHandle, signal: Signal, exported: Uint8Array, replayed: boolean): void {
    this.#queue.run(async () => {
      try {
        if (replayed) this.#repeatReply(signal)
        else if (this.#isWanted(handle)) await this.#dispatch(handle, signal, exported)
      } finally {
        if (!this.busy) this.#options.idle()
      }
    })
  }

  /** Signals wait behind the one that is being handled. */
  get busy(): boolean {
    // That one is counted until it is over.
    return this.#queue.pending > 1
  }

  /** Forgets the reply that would be repeated: its link is over. */
  forgetReply(): void {
    this.#reply = undefined
  }

  /** Forgets the reply that would be repeated if it came from a session that is gone. */
  sessionsChanged(): void {
    if (this.#reply && !this.#options.context.holds(this.#reply.fromSession)) this.forgetReply()
  }

  /** Higher key: asks for a Hello. */
  knock(want: Want): void {
    const self = want.handle.self()
    if (!self) return
    const body: Signal['body'] = { case: 'knock', value: { $typeName: 'mesh.peer.v1.Knock', record: self.record } }
    this.#send(want.handle, want.record, NO_CONNECTION_ID, body).catch((error: unknown) =>
      this.#options.failed(MeshError.from(error)),
    )
  }

  async #dispatch(handle: TopicHandle, signal: Signal, exported: Uint8Array): Promise<void> {
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

  async #onHello(handle: TopicHandle, signal: Signal, hello: Hello, exported: Uint8Array): Promise<void> {
    const self = handle.self()
    if (this.#options.role !== 'higher' || !self) return
    const record = await this.#admit(handle, signal, hello.record)
    if (!record) return
    const { context, linkFor, called } = this.#options
    const { connectionId } = signal
    const { previousConnectionId } = hello
    const replaces = linkFor(previousConnectionId)
    const reply = await sealTo(self, record, context.nextSignalSeq(), connectionId, {
      case: 'helloReply',
      value: { $typeName: 'mesh.peer.v1.HelloReply', record: self.record, resumed: replaces !== undefined },
    })
    const exports = { hello: exported, helloReply: reply.exported }
    const keys = await linkKeys(self, record, 'higher', connectionId, exports, context.aead)
    // The link ended, or the swarm was left, while this was computed: the caller calls again.
    if (!this.#isWanted(handle) || linkFor(previousConnectionId) !== replaces) return
    this.#reply = { connectionId, handle, fromSession: self.session.id, payload: reply.payload }
    this.#sendReply(this.#reply)
    called({ handle, record, connectionId, previousConnectionId, keys }, replaces)
  }

  async #onHelloReply(signal: Signal, reply: HelloReply, exported: Uint8Array): Promise<void> {
    const { callFor, answered, context } = this.#options
    const call = callFor(signal.connectionId)
    if (!call?.exported || !reply.record) return
    const record = await call.handle.verify(reply.record)
    requireOwnRecord(signal, record)
    const exports = { hello: call.exported, helloReply: exported }
    const keys = await linkKeys(call.self, record, 'lower', call.connectionId, exports, context.aead)
    if (callFor(signal.connectionId) !== call) return
    this.#opened = { session: signal.fromSession, seq: signal.seq }
    answered(call, record, keys, reply.resumed)
  }

  #onRefusal(signal: Signal, { error: detail }: Refusal): void {
    const call = this.#options.callFor(signal.connectionId)
    if (!call) return
    const message = 'the other peer refused the link'
    const error = detail ? MeshError.fromDetail(detail, message) : new MeshError(ErrorReason.LINK_REFUSED, message)
    this.#options.refused(call, error)
  }

  async #onKnock(handle: TopicHandle, signal: Signal, knock: Knock): Promise<void> {
    if (this.#options.role !== 'lower') return
    const overtaken = this.#opened && equalBytes(this.#opened.session, signal.fromSession)
    if (overtaken && signal.seq < (this.#opened?.seq ?? 0n)) return
    const record = await this.#admit(handle, signal, knock.record)
    if (record && this.#isWanted(handle)) this.#options.knocked(handle, record)
  }

  /** The record of whoever asks for a link; undefined when there is none for it, which it is told where that helps. */
  async #admit(handle: TopicHandle, signal: Signal, signed: Hello['record']): Promise<VerifiedRecord | undefined> {
    if (!signed) return undefined
    const record = await handle.verify(signed)
    requireOwnRecord(signal, record)
    const known = this.#options.known(handle)
    const isListed = () => lists(handle, record.record)
    if (known && isOutdated(record.record, known.record, isListed)) return undefined
    if (handle.accepts(record)) return record
    const error = new MeshError(ErrorReason.LINK_REFUSED, 'this side has no room for another peer').toDetail()
    const body: Signal['body'] = { case: 'refusal', value: { $typeName: 'mesh.peer.v1.Refusal', error } }
    await this.#send(handle, record, signal.connectionId, body)
    return undefined
  }

  /** Seals one signal to the session in the record and sends it. */
  async #send(handle: TopicHandle, to: VerifiedRecord, connectionId: Uint8Array, body: Signal['body']): Promise<void> {
    const self = handle.self()
    if (!self) return
    const { context, peerKey } = this.#options
    const { payload } = await sealTo(self, to, context.nextSignalSeq(), connectionId, body)
    await context.send(peerKey, handle.topic, payload)
  }

  #repeatReply(signal: Signal): void {
    const reply = this.#reply
    if (reply && signal.body.case === 'hello' && equalBytes(reply.connectionId, signal.connectionId))
      this.#sendReply(reply)
  }

  #sendReply({ handle, payload }: SentReply): void {
    const { context, peerKey, failed } = this.#options
    context.send(peerKey, handle.topic, payload).catch((error: MeshError) => failed(error))
  }

  #isWanted(handle: TopicHandle): boolean {
    return !this.#options.closed() && this.#options.context.handle(handle.name) === handle
  }
}
