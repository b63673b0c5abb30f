import type { VerifiedRecord } from '@mesh/core'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type {
  Backplane,
  Departure,
  EnvelopeTaker,
  MembersView,
  RemoteDelivery,
  RoutedEnvelope,
} from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import type { RecordResult, TopicChange } from '../directory/directory.ts'

/**
 * A backplane that knows one more server: a test says who is a member there (`show`), and what it answers (`answer`). A
 * member of both is shown with the higher session order.
 */
export class ShownElsewhere implements Backplane {
  readonly members: MembersView
  /** Envelopes that were sent there. */
  readonly sent: RoutedEnvelope[] = []
  /** What the other server says of an envelope. */
  answer: RemoteDelivery | Promise<RemoteDelivery> = 'delivered'
  taker: EnvelopeTaker | undefined
  isCatchingUp = false
  readonly #own: Backplane
  readonly #elsewhere = new Map<string, VerifiedRecord>()
  readonly #watchers = new Set<(change: TopicChange) => void>()
  #onOutranked: (peer: ByteKey, order: bigint) => void = () => {}

  constructor(own: Backplane) {
    this.#own = own
    own.watch((change) => {
      const staysMember = change.kind === 'left' && this.#elsewhere.has(change.topicKey + change.peer)
      if (!staysMember) this.#emit(change)
    })
    this.members = {
      get: (topicKey, peer) => this.#shown(topicKey, peer),
      sessionOf: (topicKey, peer) => {
        const shown = this.#shown(topicKey, peer)
        return shown === undefined ? undefined : byteKey(shown.record.sessionId)
      },
      departedAtMs: (topicKey, peer) => own.members.departedAtMs(topicKey, peer),
      memberCount: (topicKey) => own.members.memberCount(topicKey),
      sample: (...choice) => own.members.sample(...choice),
      page: (...slice) => own.members.page(...slice),
    }
  }

  /** A record of the other server appears here. */
  show(record: VerifiedRecord): void {
    const { topic, peerKey, sessionOrder } = record.record
    const [topicKey, peer] = [byteKey(topic), byteKey(peerKey)]
    const before = this.#shown(topicKey, peer)
    this.#elsewhere.set(topicKey + peer, record)
    if (this.#shown(topicKey, peer) === record) {
      this.#emit({ kind: before === undefined ? 'joined' : 'updated', topic, topicKey, peer, revision: 0n, record })
    }
    const own = this.#own.members.get(topicKey, peer)
    if (own !== undefined && sessionOrder > own.record.sessionOrder) this.#onOutranked(peer, sessionOrder)
  }

  announce(record: VerifiedRecord): RecordResult {
    return this.#own.announce(record)
  }

  leave(record: VerifiedRecord): RecordResult {
    return this.#own.leave(record)
  }

  withdraw(topicKey: ByteKey, peer: ByteKey, sessionId: Uint8Array, reason: DepartureReason): void {
    this.#own.withdraw(topicKey, peer, sessionId, reason)
  }

  watch(listener: (change: TopicChange) => void): () => void {
    this.#watchers.add(listener)
    return () => this.#watchers.delete(listener)
  }

  ownSessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined {
    return this.#own.ownSessionOf(topicKey, peer)
  }

  send(envelope: RoutedEnvelope, settled: (delivery: RemoteDelivery) => void): boolean {
    const record = this.#elsewhere.get(envelope.topicKey + envelope.to)
    if (record === undefined) return false
    if (envelope.toSession !== '' && envelope.toSession !== byteKey(record.record.sessionId)) return false
    this.sent.push(envelope)
    void Promise.resolve(this.answer).then(settled)
    return true
  }

  onEnvelope(taker: EnvelopeTaker): void {
    this.taker = taker
  }

  onLapsed(listener: (departure: Departure) => void): void {
    this.#own.onLapsed(listener)
  }

  onOutranked(listener: (peer: ByteKey, order: bigint) => void): void {
    this.#onOutranked = listener
  }

  close(): Promise<void> {
    return this.#own.close()
  }

  #shown(topicKey: ByteKey, peer: ByteKey): VerifiedRecord | undefined {
    const own = this.#own.members.get(topicKey, peer)
    const other = this.#elsewhere.get(topicKey + peer)
    if (own === undefined || other === undefined) return own ?? other
    return other.record.sessionOrder > own.record.sessionOrder ? other : own
  }

  #emit(change: TopicChange): void {
    for (const watcher of this.#watchers) watcher(change)
  }
}
