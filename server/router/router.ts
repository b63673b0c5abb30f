import { create } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError, type TokenBucket } from '@mesh/core'
import { type Outcome, OutcomeSchema, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Backplane, RoutedEnvelope } from '../backplane/backplane.ts'
import { type ByteKey, byteKey } from '../byte-key.ts'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { encodeMessageBody } from '../session/event-codec.ts'
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

/** What happened to one envelope, or a promise of it when another server has the recipient. */
export type Routed = Outcome | Promise<Outcome>

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
    if (refusal !== undefined) return refused(envelope.id, refusal)
    const body = encodeMessageBody(envelope.bytes, sender.peerKey, sender.id)
    const { topicKey, to, toSession, ttlMs } = envelope
    return this.#dispatch(sender, envelope.id, { topicKey, to, toSession, ttlMs, body })
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
    const own = backplane.members.get(envelope.topicKey, sender.peer)
    if (own === undefined || byteKey(own.record.sessionId) !== sender.key) {
      return new MeshError(ErrorReason.NOT_MEMBER, 'the sender is not a member of the topic')
    }
    if (sender.sentIds.has(byteKey(envelope.id))) {
      return new MeshError(ErrorReason.DUPLICATE, 'an envelope with this id was accepted before')
    }
    return undefined
  }

  #dispatch(sender: Session, id: Uint8Array, envelope: RoutedEnvelope): Routed {
    const { backplane, session } = this.#options
    const member = backplane.members.get(envelope.topicKey, envelope.to)
    const memberSession = member === undefined ? undefined : byteKey(member.record.sessionId)
    if (envelope.toSession !== '' && envelope.toSession !== memberSession) return refused(id, absent())
    const recipient = memberSession === undefined ? undefined : session(memberSession)
    if (recipient !== undefined) {
      if (!recipient.hasRoomFor(envelope.body.byteLength)) return refused(id, slow())
      recipient.push(envelope.body)
      return accepted(sender, id, OutcomeStatus.DELIVERED)
    }
    const remote = member === undefined ? undefined : backplane.send(envelope)
    if (remote === undefined) return this.#hold(sender, id, envelope, member !== undefined)
    return remote.then((delivery) => {
      if (delivery === 'absent') return this.#hold(sender, id, envelope, true)
      return accepted(sender, id, delivery === 'held' ? OutcomeStatus.HELD : OutcomeStatus.DELIVERED)
    })
  }

  #hold(sender: Session, id: Uint8Array, envelope: RoutedEnvelope, isMember: boolean): Outcome {
    const { backplane, clock, limits } = this.#options
    const departedMs = backplane.members.departedAtMs(envelope.topicKey, envelope.to)
    const wasHere = departedMs !== undefined && clock.monotonicMs() - departedMs <= limits.maxHoldMs
    // A session does not come back under its id: holding for a certain one would be in vain.
    const mayReturn = (isMember || wasHere) && envelope.toSession === ''
    if (envelope.ttlMs === 0 || !mayReturn || !this.#inboxes.hold(envelope)) return refused(id, absent())
    return accepted(sender, id, OutcomeStatus.HELD)
  }
}

function accepted(sender: Session, id: Uint8Array, status: OutcomeStatus): Outcome {
  sender.sentIds.add(byteKey(id))
  return create(OutcomeSchema, { id, status })
}

/** The outcome of an envelope that was not accepted. */
export function refused(id: Uint8Array, error: MeshError): Outcome {
  return create(OutcomeSchema, { id, status: OutcomeStatus.REFUSED, error: error.toDetail() })
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
