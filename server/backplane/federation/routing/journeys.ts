import { ErrorReason, MeshError } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Journey } from './journey.ts'

/** What began towards one server. */
interface Load {
  readonly server: ByteKey
  count: number
  bytes: number
}

/** The envelopes to one peer in one topic, in the order they began. Linked, because most of them are gone in a moment. */
interface Recipient {
  readonly to: ByteKey
  first: JourneyPlace | undefined
  last: JourneyPlace | undefined
}

interface Topic {
  readonly topicKey: ByteKey
  readonly recipients: Map<ByteKey, Recipient>
}

/** Where a journey is among the others; read and written by `Journeys` only. */
export class JourneyPlace {
  readonly journey: Journey
  readonly load: Load
  readonly topic: Topic
  readonly recipient: Recipient
  before: JourneyPlace | undefined
  after: JourneyPlace | undefined

  /** The last one to its recipient. */
  constructor(journey: Journey, load: Load, topic: Topic, recipient: Recipient) {
    this.journey = journey
    this.load = load
    this.topic = topic
    this.recipient = recipient
    this.before = recipient.last
    this.after = undefined
  }
}

/**
 * The envelopes that this server tries to get to others. Bounded for each server they began towards, by count and bytes, so
 * that one that does not answer takes no room from the rest.
 */
export class Journeys {
  readonly #limits: ServerLimits
  readonly #loads = new Map<ByteKey, Load>()
  readonly #topics = new Map<ByteKey, Topic>()
  #size = 0

  constructor(limits: ServerLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#size
  }

  /** A copy: journeys may end while they are visited. */
  all(): Journey[] {
    const all: Journey[] = []
    for (const { recipients } of this.#topics.values()) {
      for (const recipient of recipients.values()) all.push(...journeysTo(recipient))
    }
    return all
  }

  /** Those to one peer in one topic, in the order they began; a copy. */
  to(topicKey: ByteKey, peer: ByteKey): Journey[] {
    const recipient = this.#topics.get(topicKey)?.recipients.get(peer)
    return recipient === undefined ? [] : journeysTo(recipient)
  }

  hasTopic(topicKey: ByteKey): boolean {
    return this.#topics.has(topicKey)
  }

  /** An error when there is no room for more towards that server. */
  add(journey: Journey, server: ByteKey): MeshError | undefined {
    const { federationMaxAttempts, federationMaxQueueBytes } = this.#limits
    const { to, topicKey, bytes } = journey.envelope
    const load = this.#loadOf(server)
    if (load.count >= federationMaxAttempts || load.bytes + bytes.byteLength > federationMaxQueueBytes) {
      if (load.count === 0) this.#loads.delete(server)
      const message = 'too many envelopes wait for the server of the recipient'
      return new MeshError(ErrorReason.RECIPIENT_SLOW, message, { retryAfterMs: 1_000 })
    }
    load.count += 1
    load.bytes += bytes.byteLength
    this.#size += 1
    const topic = this.#topicOf(topicKey)
    const recipient = recipientIn(topic, to)
    const place = new JourneyPlace(journey, load, topic, recipient)
    if (recipient.last === undefined) recipient.first = place
    else recipient.last.after = place
    recipient.last = place
    journey.place = place
    return undefined
  }

  delete(journey: Journey): void {
    const { place } = journey
    if (place === undefined) return
    journey.place = undefined
    const { load, topic, recipient, before, after } = place
    this.#size -= 1
    load.count -= 1
    load.bytes -= journey.envelope.bytes.byteLength
    if (before === undefined) recipient.first = after
    else before.after = after
    if (after === undefined) recipient.last = before
    else after.before = before
    // What is gone must not lead to what follows: the garbage collector would keep all of that, for a while.
    place.before = undefined
    place.after = undefined
    if (recipient.first === undefined) topic.recipients.delete(recipient.to)
    if (topic.recipients.size === 0) this.#topics.delete(topic.topicKey)
    if (load.count === 0) this.#loads.delete(load.server)
  }

  #loadOf(server: ByteKey): Load {
    const known = this.#loads.get(server)
    if (known !== undefined) return known
    const load = { server, count: 0, bytes: 0 }
    this.#loads.set(server, load)
    return load
  }

  #topicOf(topicKey: ByteKey): Topic {
    const known = this.#topics.get(topicKey)
    if (known !== undefined) return known
    const topic = { topicKey, recipients: new Map<ByteKey, Recipient>() }
    this.#topics.set(topicKey, topic)
    return topic
  }
}

function recipientIn({ recipients }: Topic, to: ByteKey): Recipient {
  const known = recipients.get(to)
  if (known !== undefined) return known
  const recipient = { to, first: undefined, last: undefined }
  recipients.set(to, recipient)
  return recipient
}

function journeysTo({ first }: Recipient): Journey[] {
  const journeys: Journey[] = []
  for (let place = first; place !== undefined; place = place.after) journeys.push(place.journey)
  return journeys
}
