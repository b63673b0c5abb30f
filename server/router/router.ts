import { type Clock, ErrorReason, MeshError, type TokenBucket } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Backplane, RoutedEnvelope } from '../backplane/backplane.ts'
import type { ByteKey } from '../byte-key.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { encodeMessageBody, messageBodyBytes } from '../session/event-codec.ts'
import type { Session } from '../session/session.ts'
import { envelopeShapeError, type OutgoingEnvelope } from './envelope.ts'
import { Inboxes } from './inbox.ts'

export interface RouterOptions {
  readonly backplane: Backplane
  /** The live session with this id. */
  readonly session: (id: ByteKey) => Session | undefined
  readonly limits: ServerLimits
  readonly clock: Clock
}

/** What happened to one envelope; `error` says why it was refused. */
export interface EnvelopeOutcome {
  readonly id: Uint8Array
  readonly status: OutcomeStatus
  readonly error: MeshError | undefined
}

/** An outcome, or a promise of it when another server has the recipient. */
export type Routed = EnvelopeOutcome | Promise<EnvelopeOutcome>

/**
 * Where an envelope goes, decided in this order:
 *
 *  1. Size and shape, then the sender's quotas (all recipients, this recipient).
 *  2. The sender must be a member of the topic, the recipient must be one or have been one a moment ago.
 *  3. A second envelope with the same (sender, id) is refused; an id counts once it was delivered or held.
 *  4. The session that the recipient's record names, here: its queue. A full queue refuses (RECIPIENT_SLOW).
 *  5. Another server that has the recipient: through the backplane.
 *  6. Nobody: held for `ttl_ms` when the envelope asks for it and there is room, else RECIPIENT_ABSENT.
 */
export class Router {
  readonly #options: RouterOptions
  readonly #inboxes: Inboxes

  constructor(options: RouterOptions) {
    this.#options = options
    this.#inboxes = new Inboxes(options.limits, options.clock)
  }

  /** Envelopes held for absent recipients. */
  get heldCount(): number {
    return this.#inboxes.count
  }

  /** Routes one envelope of `sender`. Never throws for what a sender can cause: the outcome says why it was refused. */
  route(sender: Session, envelope: OutgoingEnvelope): Routed {
    const refusal = this.#check(sender, envelope)
    if (refusal !== undefined) return refused(envelope, refusal)
    const { backplane, session } = this.#options
    const holder = backplane.members.sessionOf(envelope.topicKey, envelope.to)
    if (envelope.toSession !== '' && envelope.toSession !== holder) return refused(envelope, absent())
    const recipient = holder === undefined ? undefined : session(holder)
    if (recipient === undefined) return this.#elsewhere(sender, envelope, holder !== undefined)
    return recipient.deliver(envelope.bytes, sender.stamp) ? delivered(sender, envelope) : refused(envelope, slow())
  }

  /** A session joined a topic: what was held for it there is delivered. */
  onJoin(session: Session, topicKey: ByteKey): void {
    for (const held of this.#inboxes.fetch(session.peer, topicKey)) {
      if (held.toSession !== '' && held.toSession !== session.key) continue
      if (session.hasRoomFor(held.body.byteLength)) session.push(held.body)
    }
  }

  close(): void {
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
    if (backplane.members.sessionOf(envelope.topicKey, sender.peer) !== sender.key) {
      return new MeshError(ErrorReason.NOT_MEMBER, 'the sender is not a member of the topic')
    }
    if (sender.sentIds.has(envelope.idKey)) {
      return new MeshError(ErrorReason.DUPLICATE, 'an envelope with this id was accepted before')
    }
    return undefined
  }

  /** The recipient has no session here: `isMember` when the directory knows it all the same. */
  #elsewhere(sender: Session, envelope: OutgoingEnvelope, isMember: boolean): Routed {
    const { topicKey, to, toSession, ttlMs, bytes } = envelope
    const body = encodeMessageBody(bytes, sender.stamp, new Uint8Array(messageBodyBytes(bytes, sender.stamp)))
    const routed = { topicKey, to, toSession, ttlMs, body }
    const remote = isMember ? this.#options.backplane.send(routed) : undefined
    if (remote === undefined) return this.#hold(sender, envelope, routed, isMember)
    return remote.then((delivery) => {
      if (delivery === 'absent') return this.#hold(sender, envelope, routed, true)
      return delivery === 'held' ? held(sender, envelope) : delivered(sender, envelope)
    })
  }

  #hold(sender: Session, envelope: OutgoingEnvelope, routed: RoutedEnvelope, isMember: boolean): EnvelopeOutcome {
    const { backplane, clock, limits } = this.#options
    const departedMs = backplane.members.departedAtMs(envelope.topicKey, envelope.to)
    const wasHere = departedMs !== undefined && clock.monotonicMs() - departedMs <= limits.maxHoldMs
    // A session does not come back under its id: holding for a certain one would be in vain.
    const mayReturn = (isMember || wasHere) && envelope.toSession === ''
    if (envelope.ttlMs === 0 || !mayReturn || !this.#inboxes.hold(routed)) return refused(envelope, absent())
    return held(sender, envelope)
  }
}

function delivered(sender: Session, { id, idKey }: OutgoingEnvelope): EnvelopeOutcome {
  sender.sentIds.add(idKey)
  return { id, status: OutcomeStatus.DELIVERED, error: undefined }
}

function held(sender: Session, { id, idKey }: OutgoingEnvelope): EnvelopeOutcome {
  sender.sentIds.add(idKey)
  return { id, status: OutcomeStatus.HELD, error: undefined }
}

function refused({ id }: OutgoingEnvelope, error: MeshError): EnvelopeOutcome {
  return { id, status: OutcomeStatus.REFUSED, error }
}

function overQuota(
  bucket: TokenBucket,
  name: 'messagesPerSecond' | 'pairMessagesPerSecond',
  limits: ServerLimits,
): MeshError | undefined {
  if (bucket.take()) return undefined
  return limitError(name, limits[name], { retryAfterMs: bucket.msUntil() })
}

function absent(): MeshError {
  return new MeshError(ErrorReason.RECIPIENT_ABSENT, 'the recipient is not here', { retryable: true })
}

function slow(): MeshError {
  return new MeshError(ErrorReason.RECIPIENT_SLOW, 'the queue of the recipient is full', { retryAfterMs: 1_000 })
}
