import { type Clock, equalBytes, type Timer, type VerifiedRecord } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Backplane, Departure } from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import type { TopicChange } from '../directory/directory.ts'
import { TopicViews } from '../directory/topic-views.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { encodeMembersBody } from './event-codec.ts'
import { ofOneProcess, type Session, type SessionEnd } from './session.ts'
import type { SessionRegistry } from './session-registry.ts'

export interface MembershipsOptions {
  readonly backplane: Backplane
  readonly sessions: SessionRegistry
  readonly limits: ServerLimits
  readonly clock: Clock
}

export interface Joined {
  readonly revision: bigint
  readonly members: SignedRecord[]
  readonly memberCount: number
}

/**
 * What the sessions of this server are members of, and who among them hears of which change.
 *
 *  1. A JOIN record goes to the backplane, which calls back with the change; sessions that have the peer in view get it.
 *  2. The joining session gets a view of the topic: what its Join returns is what it hears about from then on.
 *  3. A session that ends takes its memberships along: LEFT when it was closed, EXPIRED when its lease ran out. One that
 *     was replaced leaves them for `takeoverMs`, in which the newer session of the peer joins again under its own name;
 *     what it does not join leaves as TAKEN_OVER.
 *  4. A session to which nobody is connected ends when another process of its peer has a newer one at another server: as
 *     replaced, but what the peer has joined there is withdrawn here at once. A process may have a session at each of
 *     several servers; none of them ends another.
 */
export class Memberships {
  readonly #options: MembershipsOptions
  readonly #views = new TopicViews<Session>()
  readonly #unwatch: () => void
  readonly #takeovers = new Set<Timer>()

  constructor(options: MembershipsOptions) {
    this.#options = options
    this.#unwatch = options.backplane.watch((change) => this.#onChange(change))
  }

  /**
   * Joins a topic or updates the membership, with a record that was verified to be of this session.
   * `maxMembers` 0 means as many as allowed.
   * @throws MeshError LIMIT_EXCEEDED (max_topics_per_session, max_members_per_topic), RECORD_STALE, RECORD_EQUIVOCATION.
   */
  join(session: Session, record: VerifiedRecord, maxMembers: number): Joined {
    const { backplane, limits } = this.#options
    const { topic } = record.record
    const topicKey = byteKey(topic)
    if (!session.topics.has(topicKey) && session.topics.size >= limits.maxTopicsPerSession) {
      throw limitError('maxTopicsPerSession', limits.maxTopicsPerSession, { value: session.topics.size })
    }
    const { revision, refusal } = backplane.announce(record)
    if (refusal !== undefined) throw refusal
    session.addTopic(topicKey, topic.slice())
    const size = maxMembers === 0 ? limits.maxMembersPerJoin : Math.min(maxMembers, limits.maxMembersPerJoin)
    const members = this.#membersFor(session, topicKey, size)
    const peers = members.map((member) => byteKey(member.record.peerKey))
    this.#views.enter(topicKey, session, peers, size)
    const memberCount = backplane.members.memberCount(topicKey)
    return { revision, members: members.map((member) => member.signed), memberCount }
  }

  /** Leaves a topic with a verified LEAVE record. @throws MeshError RECORD_STALE, RECORD_EQUIVOCATION. */
  leave(session: Session, record: VerifiedRecord): bigint {
    const { revision, refusal } = this.#options.backplane.leave(record)
    if (refusal !== undefined) throw refusal
    this.#forget(session, byteKey(record.record.topic))
    return revision
  }

  /** A session ended: see 3. */
  onSessionEnd(session: Session, end: SessionEnd): void {
    const { clock, limits } = this.#options
    for (const topicKey of session.topics.keys()) this.#views.exit(topicKey, session)
    switch (end.kind) {
      case 'closed':
        this.#withdrawAll(session, DepartureReason.LEFT)
        return
      case 'expired':
        this.#withdrawAll(session, DepartureReason.EXPIRED)
        return
      case 'moved':
        this.#withdrawMoved(session)
        this.#withdrawLater(session, clock, limits.takeoverMs)
        return
      case 'replaced':
        this.#withdrawLater(session, clock, limits.takeoverMs)
        return
      case 'stopped':
        return
    }
  }

  /** A peer that has a session here has one of this order at another server too: see 4. */
  onOutranked(peer: ByteKey, order: bigint): void {
    const session = this.#options.sessions.ofPeer(peer)
    if (session?.streamCount === 0) this.#endMoved(session, order)
  }

  /** The last stream of a session stopped: see 4. */
  onStreamless(session: Session): void {
    for (const topicKey of session.topics.keys()) {
      const order = this.#orderElsewhere(session, topicKey)
      if (order !== undefined && this.#endMoved(session, order)) return
    }
  }

  /** A record ran out. While its session lives, the owner must hear of it too, and join again. */
  onLapsed(departure: Departure): void {
    const owner = this.#options.sessions.get(byteKey(departure.sessionId))
    if (owner === undefined) return
    this.#forget(owner, departure.topicKey)
    owner.push(encodeMembersBody(departure))
  }

  close(): void {
    this.#unwatch()
    for (const timer of this.#takeovers) timer.cancel()
  }

  /** What the session already has in view, and random others up to `size`: joining again keeps the view stable. */
  #membersFor(session: Session, topicKey: string, size: number): VerifiedRecord[] {
    const { members } = this.#options.backplane
    const chosen = new Map<string, VerifiedRecord>()
    for (const peer of this.#views.peers(topicKey, session) ?? []) {
      const record = members.get(topicKey, peer)
      if (record !== undefined && chosen.size < size) chosen.set(peer, record)
    }
    for (const record of chosen.size < size ? members.sample(topicKey, size, session.peer) : []) {
      if (chosen.size >= size) break
      chosen.set(byteKey(record.record.peerKey), record)
    }
    return [...chosen.values()]
  }

  #onChange(change: TopicChange): void {
    const audience = this.#views.audience(change)
    if (audience.length === 0) return
    const body = encodeMembersBody(change)
    for (const session of audience) session.push(body)
  }

  #forget(session: Session, topicKey: string): void {
    session.topics.delete(topicKey)
    this.#views.exit(topicKey, session)
  }

  /** True when `order` is that of a newer process. */
  #endMoved(session: Session, order: bigint): boolean {
    if (order <= session.order || ofOneProcess(order, session.order)) return false
    this.#options.sessions.end(session, { kind: 'moved', order })
    return true
  }

  /** The order of the session that a topic shows of this session's peer, when that is another one. */
  #orderElsewhere(session: Session, topicKey: ByteKey): bigint | undefined {
    const shown = this.#options.backplane.members.get(topicKey, session.peer)?.record
    return shown === undefined || equalBytes(shown.sessionId, session.id) ? undefined : shown.sessionOrder
  }

  #withdrawMoved(session: Session): void {
    for (const topicKey of [...session.topics.keys()]) {
      const order = this.#orderElsewhere(session, topicKey)
      if (order === undefined || order <= session.order) continue
      this.#options.backplane.withdraw(topicKey, session.peer, session.id, DepartureReason.TAKEN_OVER)
      session.topics.delete(topicKey)
    }
  }

  #withdrawLater(session: Session, clock: Clock, delayMs: number): void {
    const timer = clock.schedule(delayMs, () => {
      this.#takeovers.delete(timer)
      this.#withdrawAll(session, DepartureReason.TAKEN_OVER)
    })
    this.#takeovers.add(timer)
  }

  #withdrawAll(session: Session, reason: DepartureReason): void {
    for (const topicKey of session.topics.keys()) {
      this.#options.backplane.withdraw(topicKey, session.peer, session.id, reason)
    }
    session.topics.clear()
  }
}
