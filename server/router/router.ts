import { type Clock, MeshError, type Timer, type TokenBucket } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import {
  type Arrival,
  type Backplane,
  type EnvelopeTaker,
  keptEnvelope,
  type RemoteDelivery,
  type RoutedEnvelope,
} from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import type { TopicChange } from '../directory/directory.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { ttlStamp } from '../session/event-codec.ts'
import type { IdFate } from '../session/id-window.ts'
import type { Session, SessionEnd } from '../session/session.ts'
import type { SessionRegistry } from '../session/session-registry.ts'
import { envelopeShapeError, type OutgoingEnvelope, StampedEnvelope, storedEnvelope } from './envelope.ts'
import { Inboxes } from './inbox.ts'
import { absent, duplicate, EnvelopeOutcome, notMember, refused, slow, unanswered } from './outcome.ts'

export interface RouterOptions {
  readonly backplane: Backplane
  readonly sessions: Pick<SessionRegistry, 'get' | 'sentIdsOf'>
  readonly limits: ServerLimits
  readonly clock: Clock
}

const NO_STAMP = new Uint8Array()

/** Least wait before something held is sent again over a way that was crowded. */
const MIN_RETRY_MS = 50

/**
 * Where an envelope goes, decided in this order:
 *
 *  1. Size and shape, then the sender's quotas (all recipients, this recipient).
 *  2. The sender must be a member of the topic, here.
 *  3. A second envelope with the same (sender, id) is refused; an id counts once it was delivered or held.
 *  4. The recipient's session here, when somebody reads it or it is the newest: its queue. DELIVERED when it is read, HELD
 *     when it is between two streams; a full queue refuses (RECIPIENT_SLOW).
 *  5. Another server that has the recipient: through the backplane.
 *  6. Nobody, but a moment ago somebody: held for `ttl_ms` when the envelope asks for it and there is room, else
 *     RECIPIENT_ABSENT.
 *
 * What other servers send (`receive`) starts at 2, with members of any server, and ends at 4. What was held, and what a
 * session leaves unread when it ends, goes where its recipient appears next, as long as its ttl lasts.
 */
export class Router implements EnvelopeTaker {
  readonly #options: RouterOptions
  readonly #inboxes: Inboxes
  readonly #unwatch: () => void
  /** By topic and recipient: at most one for each recipient of something held. */
  readonly #retries = new Map<ByteKey, Timer>()
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
    this.#inboxes = new Inboxes(options.limits, options.clock)
    this.#unwatch = options.backplane.watch((change) => this.#onChange(change))
    options.backplane.onEnvelope(this)
  }

  /** Envelopes held for absent recipients. */
  get heldCount(): number {
    return this.#inboxes.count
  }

  /**
   * Routes one envelope of `sender`. Never throws for what a sender can cause: the outcome says why it was refused. `settled`
   * is called once, before this returns unless another server has the recipient.
   */
  route(sender: Session, envelope: OutgoingEnvelope, settled: (outcome: EnvelopeOutcome) => void): void {
    const refusal = this.#check(sender, envelope)
    const recipient = refusal === undefined ? this.#recipientOf(envelope) : undefined
    if (refusal !== undefined) settled(refused(envelope.id, refusal))
    else if (recipient === undefined) this.#elsewhere(sender, envelope, settled)
    else if (!recipient.deliver(envelope.bytes, sender.stamp)) settled(refused(envelope.id, slow()))
    else settled(accepted(sender, envelope, fateIn(recipient)))
  }

  /** Takes an envelope that another server sent, or that comes back from the backplane. Repeated, it gets the same answer. */
  receive(envelope: RoutedEnvelope): Arrival {
    const { backplane, sessions, limits } = this.#options
    const { from, to, topicKey, payloadBytes, id } = envelope
    if (payloadBytes > limits.maxMessageBytes) {
      return limitError('maxMessageBytes', limits.maxMessageBytes, { value: payloadBytes })
    }
    const shape = envelopeShapeError(envelope)
    if (shape !== undefined) return shape
    const fate = sessions.sentIdsOf(from).fateOf(id)
    if (fate === 'delivered' || fate === 'held') return fate
    if (backplane.ownSessionOf(topicKey, to) === undefined) return 'absent'
    const isKnown = backplane.members.sessionOf(topicKey, from) !== undefined || this.#leftRecently(topicKey, from)
    // Until it knows all members itself, it takes the word of a server that could show a peer of its own as one.
    if (!isKnown && !backplane.isCatchingUp) return notMember()
    return this.#arrive({ ...envelope, ttlMs: Math.min(envelope.ttlMs, limits.maxHoldMs) }, false)
  }

  awaits(topicKey: ByteKey): boolean {
    return this.#inboxes.hasTopic(topicKey)
  }

  /** A session joined a topic: what was held for it there is delivered. */
  onJoin(session: Session, topicKey: ByteKey): void {
    for (const held of this.#inboxes.fetch(session.peer, topicKey)) {
      if (held.toSession !== '' && held.toSession !== session.key) continue
      if (!session.deliver(held.bytes, ttlStamp(held.ttlMs))) continue
      // It may come again, from a server that got no answer, and it may have been elsewhere before.
      this.#options.sessions.sentIdsOf(held.from).set(held.id, fateIn(session))
    }
  }

  /** A session ended: what nobody read of its queue goes to where its peer is now, or waits for it. */
  onSessionEnd(session: Session, end: SessionEnd): void {
    if (end.kind === 'stopped') return
    const nowMs = this.#options.clock.monotonicMs()
    for (const { envelope, atMs } of session.unreadMessages()) {
      const stored = storedEnvelope(envelope)
      const ttlMs = Math.ceil(stored.ttlMs - (nowMs - atMs))
      if (ttlMs > 0 && stored.toSession === '') this.#forward({ ...stored, ttlMs })
    }
  }

  close(): void {
    this.#closed = true
    this.#unwatch()
    for (const retry of this.#retries.values()) retry.cancel()
    this.#retries.clear()
    this.#inboxes.close()
  }

  #check(sender: Session, envelope: OutgoingEnvelope): MeshError | undefined {
    const { limits, backplane } = this.#options
    if (envelope.payloadBytes > limits.maxMessageBytes) {
      return limitError('maxMessageBytes', limits.maxMessageBytes, { value: envelope.payloadBytes })
    }
    const shape = envelopeShapeError(envelope)
    if (shape !== undefined) return shape
    if (envelope.ttlMs > limits.maxHoldMs) return limitError('maxHoldMs', limits.maxHoldMs, { value: envelope.ttlMs })
    const overRate =
      overQuota(sender.messages, 'messagesPerSecond', limits) ??
      overQuota(sender.pairQuota(envelope.to), 'pairMessagesPerSecond', limits)
    if (overRate !== undefined) return overRate
    if (backplane.ownSessionOf(envelope.topicKey, sender.peer) !== sender.key) return notMember()
    return sender.sentIds.has(envelope.id) ? duplicate() : undefined
  }

  /**
   * The session an envelope is for, when it is here. One that reads comes before what the topic shows: a peer may have newer
   * sessions elsewhere, and this is the shortest way to it.
   */
  #recipientOf({ topicKey, to, toSession }: OutgoingEnvelope): Session | undefined {
    const { backplane, sessions } = this.#options
    const own = backplane.ownSessionOf(topicKey, to)
    if (own === undefined || (toSession !== '' && toSession !== own)) return undefined
    const session = sessions.get(own)
    if (session === undefined || session.streamCount > 0 || toSession !== '') return session
    return backplane.members.sessionOf(topicKey, to) === own ? session : undefined
  }

  #elsewhere(sender: Session, envelope: OutgoingEnvelope, settled: (outcome: EnvelopeOutcome) => void): void {
    const routed = new StampedEnvelope(sender.peer, envelope, sender.stamped(envelope.bytes))
    const onDelivery = (delivery: RemoteDelivery): void => settled(remoteOutcome(sender, envelope, delivery))
    if (this.#options.backplane.send(routed, onDelivery)) return
    settled(this.#hold(routed, false) ? accepted(sender, envelope, 'held') : refused(envelope.id, absent()))
  }

  /** Holds an envelope for a recipient that is expected back: its new session is about to join, or it left just now. */
  #hold(envelope: RoutedEnvelope, isOwed: boolean): boolean {
    const { topicKey, to, toSession } = envelope
    const mayReturn =
      this.#options.backplane.ownSessionOf(topicKey, to) !== undefined || this.#leftRecently(topicKey, to)
    // A session does not come back under its id: holding for a certain one would be in vain.
    return mayReturn && toSession === '' && this.#inboxes.hold(keptEnvelope(envelope), isOwed)
  }

  #leftRecently(topicKey: ByteKey, peer: ByteKey): boolean {
    const { backplane, clock, limits } = this.#options
    const departedMs = backplane.members.departedAtMs(topicKey, peer)
    return departedMs !== undefined && clock.monotonicMs() - departedMs <= limits.maxHoldMs
  }

  /**
   * Puts an envelope into the queue of its recipient's session here, or holds it for the one that is about to join. `isOwed`: its
   * sender was told before that it is held.
   */
  #arrive(envelope: RoutedEnvelope, isOwed: boolean): Arrival {
    const { backplane, sessions } = this.#options
    const { topicKey, to, toSession, from, id, bytes, ttlMs } = envelope
    const own = backplane.ownSessionOf(topicKey, to)
    if (own === undefined || (toSession !== '' && toSession !== own)) return 'absent'
    const session = sessions.get(own)
    if (session === undefined && !this.#hold(envelope, isOwed)) return 'absent'
    if (session?.deliver(bytes, ttlMs > 0 ? ttlStamp(ttlMs) : NO_STAMP) === false) return slow()
    const fate = session === undefined ? 'held' : fateIn(session)
    sessions.sentIdsOf(from).set(id, fate)
    return fate
  }

  /** Sends on what this server answers for already, and was not read. */
  #forward(envelope: RoutedEnvelope): void {
    const { backplane, sessions, clock } = this.#options
    if (this.#arrive(envelope, true) !== 'absent') return
    // Set before it goes: when the recipient comes back here, so may the envelope.
    sessions.sentIdsOf(envelope.from).set(envelope.id, 'elsewhere')
    const startMs = clock.monotonicMs()
    const isUnderWay = backplane.send(envelope, (delivery) => {
      if (this.#closed || !(delivery instanceof MeshError) || !delivery.retryable) return
      const ttlMs = Math.ceil(envelope.ttlMs - (clock.monotonicMs() - startMs))
      if (this.#inboxes.hold({ ...envelope, ttlMs }, true)) this.#forwardLater(envelope, delivery.retryAfterMs)
    })
    if (!isUnderWay) this.#hold(envelope, true)
  }

  /** The way is crowded: what is held for the recipient goes together, a little later. */
  #forwardLater({ to, topicKey }: RoutedEnvelope, delayMs: number): void {
    const key = topicKey + to
    if (this.#retries.has(key)) return
    const retry = this.#options.clock.schedule(Math.max(delayMs, MIN_RETRY_MS), () => {
      this.#retries.delete(key)
      this.#forwardHeld(to, topicKey)
    })
    this.#retries.set(key, retry)
  }

  #forwardHeld(peer: ByteKey, topicKey: ByteKey): void {
    for (const held of this.#inboxes.fetch(peer, topicKey)) this.#forward(held)
  }

  /** A peer for which something is held is a member somewhere else now. */
  #onChange(change: TopicChange): void {
    if (change.kind === 'left' || !this.#inboxes.has(change.peer)) return
    const { topicKey, peer, record } = change
    // When it is here, `onJoin` comes next, once its session has its view of the topic.
    if (this.#options.backplane.ownSessionOf(topicKey, peer) === byteKey(record.record.sessionId)) return
    this.#forwardHeld(peer, topicKey)
  }
}

/** What an envelope in the queue of a session is: with its reader, or waiting for one. */
function fateIn(session: Session): 'delivered' | 'held' {
  return session.streamCount > 0 ? 'delivered' : 'held'
}

function accepted(sender: Session, { id }: OutgoingEnvelope, fate: 'delivered' | 'held'): EnvelopeOutcome {
  sender.sentIds.set(id, fate)
  return outcome(id, fate)
}

function remoteOutcome(sender: Session, { id }: OutgoingEnvelope, delivery: RemoteDelivery): EnvelopeOutcome {
  if (delivery instanceof MeshError) return refused(id, delivery)
  if (delivery === 'absent') return refused(id, absent())
  if (delivery === 'unanswered') return refused(id, unanswered())
  // It is known already when the backplane brought it back here.
  if (!sender.sentIds.has(id)) sender.sentIds.set(id, 'elsewhere')
  return outcome(id, delivery)
}

function outcome(id: Uint8Array, fate: Exclude<IdFate, 'elsewhere'>): EnvelopeOutcome {
  return new EnvelopeOutcome(id, fate === 'delivered' ? OutcomeStatus.DELIVERED : OutcomeStatus.HELD, undefined)
}

function overQuota(
  bucket: TokenBucket,
  name: 'messagesPerSecond' | 'pairMessagesPerSecond',
  limits: ServerLimits,
): MeshError | undefined {
  if (bucket.take()) return undefined
  return limitError(name, limits[name], { retryAfterMs: bucket.msUntil() })
}
