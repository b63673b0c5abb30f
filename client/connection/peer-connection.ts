import { ErrorReason, formatPeerId, type LinkKeys, MeshError, type VerifiedRecord } from '@mesh/core'
import type { Packet, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { PathName } from '../link/index.ts'
import { sameProcess } from '../signal/session-order.ts'
import { Approach } from './approach.ts'
import type { ConnectionContext } from './connection-context.ts'
import { LinkedPeer } from './linked-peer.ts'
import type { OutgoingCall } from './outgoing-call.ts'
import { PeerSignals } from './peer-signals.ts'
import { Rekeying } from './rekeying.ts'
import type { TopicHandle } from './topic-handle.ts'
import { Wants } from './wants.ts'

/**
 * The one connection to another peer, whatever the number of swarms they share:
 *
 *   idle ── wanted ──▶ calling (lower key: Hello sent)   ── HelloReply ──▶ linked
 *     ▲                waiting (higher key: knocks)      ── Hello ───────▶   │
 *     └───────── refused, timed out, link closed: backoff ◀─────────────────┘
 *
 * It is wanted as long as at least one swarm wants it; what is wanted is stored (Wants), and every event compares it with
 * what is (#reconcile). Getting to a link is Approach's business, the signals of the other side are PeerSignals', new keys
 * for an old link Rekeying's.
 */
interface Linked {
  readonly linked: LinkedPeer
  readonly sinceMs: number
}

/** A link that lasted this long makes the next backoff start over. */
const STABLE_MS = 5_000

export class PeerConnection {
  readonly key: Uint8Array
  readonly id: string
  readonly role: 'lower' | 'higher'
  readonly #context: ConnectionContext
  readonly #wants = new Wants()
  readonly #signals: PeerSignals
  readonly #approach: Approach
  #link: Linked | undefined
  /** Session order of the newest process of the peer that there was a link with. */
  #process: bigint | undefined
  /** Lower key, while linked. */
  #rekeying: Rekeying | undefined
  #closed = false
  #heardAtMs: number | undefined
  /** Why the last try for a link failed. */
  lastError: MeshError | undefined

  constructor(context: ConnectionContext, key: Uint8Array, role: 'lower' | 'higher') {
    this.#context = context
    this.key = key
    this.id = formatPeerId(key)
    this.role = role
    this.#approach = new Approach({
      context,
      peerKey: key,
      role,
      wants: this.#wants,
      knock: (want) => this.#signals.knock(want),
      onDue: () => this.#reconcile(),
      onChange: () => this.#changed(),
      onError: (error) => this.#note(error),
    })
    this.#signals = new PeerSignals({
      context,
      peerKey: key,
      role,
      closed: () => this.#closed,
      known: (handle) => this.#wants.get(handle)?.record,
      callFor: (connectionId) => this.#callFor(connectionId),
      linkFor: (connectionId) => (this.linked?.knows(connectionId) ? this.linked : undefined),
      called: ({ handle, record, connectionId, previousConnectionId, keys }, replaces) => {
        if (replaces) return replaces.rekey({ connectionId, keys }, previousConnectionId)
        this.#wants.set(handle, record)
        this.#openLink(keys, connectionId, record)
      },
      answered: (call, record, keys, resumed) => this.#answered(call, record, keys, resumed),
      refused: (call, error) => {
        if (this.#approach.call === call) this.#approach.fail(error)
      },
      knocked: (handle, record) => this.#knocked(handle, record),
      failed: (error) => this.#note(error),
      idle: () => this.#reconcile(),
    })
  }

  get state(): 'idle' | 'calling' | 'linked' {
    if (this.#link) return 'linked'
    return this.#approach.call ? 'calling' : 'idle'
  }

  get linked(): LinkedPeer | undefined {
    return this.#link?.linked
  }

  get path(): PathName | undefined {
    return this.linked?.path
  }

  /** Whether there is a path to the peer, and it answers as far as is known. */
  get alive(): boolean {
    return this.linked?.alive === true
  }

  /** Unix time at which something the peer made came by a link last. */
  get heardAtMs(): number | undefined {
    return this.linked?.heardAtMs ?? this.#heardAtMs
  }

  /** A swarm wants this peer, or has a newer record of it. */
  want(handle: TopicHandle, record: VerifiedRecord): void {
    const known = this.#wants.get(handle)
    this.#wants.set(handle, record)
    this.#recordChanged(record)
    // Whoever signs records is awake.
    if (this.linked?.link.silent && record.record.seq > (known?.record.record.seq ?? 0n)) this.linked.link.check()
    this.#reconcile()
  }

  /**
   * The directory no longer lists the peer. 'left': its own signed LEAVE says so, and the link ends at once. 'gone': so the server
   * says; the link ends unless a direct path says otherwise. 'silent': it may sleep, and the link waits for it.
   */
  unlisted(handle: TopicHandle, why: 'left' | 'gone' | 'silent'): void {
    if (why === 'left') return this.unwant(handle, new MeshError(ErrorReason.PEER_LEFT, 'the peer left the swarm'))
    if (this.#wants.unlist(handle, why)) this.#reconcile()
  }

  /** This side slept, or its network changed: nothing waits for a time that was set before. */
  check(): void {
    this.linked?.check()
    if (this.linked) return
    this.#approach.reset(true)
    this.#reconcile()
  }

  /** A swarm does not want this peer any more: because of `error`, or because this side leaves the swarm. */
  unwant(handle: TopicHandle, error?: MeshError): void {
    if (!this.#wants.delete(handle)) return
    this.linked?.attachments.detach(handle.name, error)
    if (this.#approach.call?.handle === handle) this.#approach.endCall()
    this.#reconcile()
  }

  /** A signaling connection came up, went down, or got a new session: nobody can answer to a session that is gone. */
  signalChanged(): void {
    const isGone = (call: OutgoingCall | undefined) => call && !this.#context.holds(call.self.session.id)
    this.#signals.sessionsChanged()
    if (isGone(this.#rekeying?.call)) this.#rekeying?.abandon()
    if (isGone(this.#approach.call)) this.#approach.endCall()
    this.#reconcile()
  }

  /** A verified signal of this peer, in order. `replayed`: its seq was seen before. */
  receiveSignal(handle: TopicHandle, signal: Signal, exported: Uint8Array, replayed: boolean): void {
    this.#signals.receive(handle, signal, exported, replayed)
  }

  receivePackets(connectionId: Uint8Array, packets: readonly Packet[]): void {
    const { call } = this.#approach
    if (this.#link) this.#link.linked.receiveRelayed(connectionId, packets)
    else if (call?.isFor(connectionId)) call.hold({ connectionId, packets })
  }

  /** Says goodbye and forgets everything. */
  close(error: MeshError): void {
    this.#closed = true
    this.#wants.clear()
    this.#approach.stop()
    this.linked?.close(error)
  }

  /** Compares what is wanted with what is. */
  #reconcile(): void {
    if (this.#closed) return
    const listed = this.#wants.listed() !== undefined
    if (this.linked) return this.#reconcileLink(this.linked, listed)
    if (this.#wants.size === 0) {
      this.#approach.stop()
      // Its signals may still make something of it.
      if (!this.#signals.busy) this.#context.unused(this)
    } else if (listed && this.#context.relayUp()) this.#approach.begin()
  }

  #reconcileLink(linked: LinkedPeer, listed: boolean): void {
    linked.setRelay(listed && this.#context.relayUp())
    // The server says the peer is gone, and no live path says otherwise.
    if (!this.#wants.hopeful && linked.path !== 'direct')
      return linked.close(new MeshError(ErrorReason.PEER_LEFT, 'the peer is gone'))
    for (const { handle } of this.#wants) linked.attachments.attach(handle)
  }

  #callFor(connectionId: Uint8Array): OutgoingCall | undefined {
    return [this.#approach.call, this.#rekeying?.call].find((call) => call?.isFor(connectionId))
  }

  #knocked(handle: TopicHandle, record: VerifiedRecord): void {
    if (this.#approach.call) return
    this.#endOldLink(record, 'the other peer lost the link')
    this.#approach.reset(true)
    this.want(handle, record)
  }

  /** Lower key: a call for a link, or for new keys, was answered. */
  #answered(call: OutgoingCall, record: VerifiedRecord, keys: LinkKeys, resumed: boolean): void {
    if (call === this.#rekeying?.call) {
      this.#rekeying.done()
      if (resumed) return this.linked?.rekey({ connectionId: call.connectionId, keys }, undefined)
    }
    this.#wants.set(call.handle, record)
    this.#openLink(keys, call.connectionId, record)
    for (const early of call.early) this.receivePackets(early.connectionId, early.packets)
  }

  #openLink(keys: LinkKeys, connectionId: Uint8Array, record: VerifiedRecord): void {
    const { sessionOrder } = record.record
    this.#endOldLink(record, 'the other peer opened a new link')
    this.#process = sessionOrder
    this.#approach.stop()
    this.lastError = undefined
    const linked = new LinkedPeer({
      context: this.#context,
      connection: this,
      keys,
      connectionId,
      topicForRelay: () => this.#wants.listed()?.handle.topic,
      onChange: () => this.#linkChanged(),
      onClosed: (error) => this.#linkClosed(linked, error),
    })
    this.#link = { linked, sinceMs: this.#context.clock.monotonicMs() }
    this.#changed()
    if (this.role === 'lower') this.#rekeying = this.#watchKeys(linked)
    this.#reconcile()
  }

  #watchKeys(linked: LinkedPeer): Rekeying {
    return new Rekeying({
      clock: this.#context.clock,
      sealed: () => linked.sealed,
      makeCall: (onTimeout) => {
        const want = this.#context.relayUp() ? this.#wants.listed() : undefined
        return want && this.#approach.makeCall(want, linked.connectionId, onTimeout)
      },
      onError: (error) => this.#note(error),
    })
  }

  #linkChanged(): void {
    this.#changed()
    this.#reconcile()
  }

  #linkClosed(linked: LinkedPeer, error: MeshError): void {
    const link = this.#link
    if (link?.linked !== linked) return
    this.#rekeying?.close()
    this.#rekeying = undefined
    this.#signals.forgetReply()
    this.#heardAtMs = linked.heardAtMs
    this.#link = undefined
    this.#note(error)
    if (this.#closed) return
    if (this.#context.clock.monotonicMs() - link.sinceMs > STABLE_MS) this.#approach.reset(false)
    // A peer that said goodbye is leaving: its departure, or a newer record, follows.
    if (this.#wants.size > 0) this.#approach.retryLater()
    else this.#reconcile()
  }

  /** A newer record of the peer: what was agreed with an older process or session of it is worth nothing any more. */
  #recordChanged(record: VerifiedRecord): void {
    const { sessionOrder } = record.record
    if (this.#approach.call?.isStaleFor(record)) this.#approach.endCall()
    if (this.#process === undefined || sessionOrder <= this.#process || sameProcess(this.#process, sessionOrder)) return
    this.#endOldLink(record, '')
    this.#approach.reset(true)
  }

  /** What there is of a link is over: for `why`, or because the record is of another process, which is told once. */
  #endOldLink({ record: { sessionOrder } }: VerifiedRecord, why: string): void {
    const restarted = this.#process !== undefined && !sameProcess(this.#process, sessionOrder)
    const error = restarted
      ? new MeshError(ErrorReason.PEER_RESTARTED, 'the other peer restarted', { retryable: true })
      : new MeshError(ErrorReason.LINK_CLOSED, why, { retryable: true })
    this.linked?.close(error)
    if (!restarted) return
    this.#process = sessionOrder
    for (const { handle } of this.#wants) handle.restarted(this)
  }

  #note(error: MeshError): void {
    this.lastError = error
    this.#changed()
  }

  #changed(): void {
    for (const { handle } of this.#wants) handle.changed(this)
  }
}
