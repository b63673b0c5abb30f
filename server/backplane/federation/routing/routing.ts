import { type Clock, ErrorReason, MeshError, type Random } from '@mesh/core'
import type {
  Frame,
  RoutedEnvelope as RoutedEnvelopeMessage,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { EnvelopeKeys, readStamped } from '../../../router/envelope-reader.ts'
import type { Arrival, RemoteDelivery, RoutedEnvelope } from '../../backplane.ts'
import type { FederationChannel, Neighbour } from '../channel.ts'
import type { Home } from '../home.ts'
import { Journey, type JourneyContext } from './journey.ts'
import { Journeys } from './journeys.ts'
import { OutgoingQueue } from './outgoing-queue.ts'
import { noWay, receiptOf } from './receipt.ts'
import { Timetable } from './timetable.ts'

export interface RoutingOptions {
  /** This server. */
  readonly self: ByteKey
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly random: Random
  /** Where a peer can be reached, the highest session order first; this server is one of them when the peer is here too. */
  readonly homesOf: (topicKey: ByteKey, peer: ByteKey) => readonly Home[]
  /** Hands an envelope to its recipient's session here. The same (from, id) again gets the same answer and nothing else. */
  readonly deliver: (envelope: RoutedEnvelope) => Arrival
  /** Called with what became of each envelope, when its sender is told. */
  readonly onOutcome?: ((outcome: RemoteDelivery) => void) | undefined
  /** There is something for `next(server)`. */
  readonly wake: (server: ByteKey) => void
}

const NOWHERE = new Uint8Array()

/**
 * Envelopes between servers, on the messages channel. As a state machine: it acts when it is called, or when a time it set on
 * the clock has come.
 *
 *  1. `send` takes an envelope whose recipient is at another server. What happens to it until its outcome is a `Journey`.
 *  2. An envelope makes one hop. Its receipt comes from the session of the recipient: nobody in between vouches for it.
 *  3. Where there is no direct stream, RoutedEnvelope.destination asks a third server to pass it on. That one does so over its
 *     own direct stream and without a destination, so the server behind it delivers it or refuses it: there are no loops.
 *     It remembers whom to pass the receipt to for `federationReceiptMs`, and keeps nothing else.
 *  4. Who may speak for whom: the servers of a federation are on each other's lists. One may pass on what peers of another
 *     sent, or hand over what it held for a peer that moved; so what is checked of the sender is that it is a member of
 *     the topic, not who passed it on. Recipients do not rely on servers for it: payloads are sealed and signed.
 *  5. Bounds, per other server: `federationMaxAttempts` and `federationMaxQueueBytes` of journeys that began towards it, and as
 *     much in its queue, of which what is passed on gets half. What does not fit is refused as RECIPIENT_SLOW.
 */
export class Routing implements FederationChannel {
  readonly #options: RoutingOptions
  readonly #timetable: Timetable
  readonly #queues = new Map<ByteKey, OutgoingQueue>()
  readonly #journeys: Journeys
  readonly #context: JourneyContext
  readonly #keys = new EnvelopeKeys()
  #lastNumber = 0

  constructor(options: RoutingOptions) {
    this.#options = options
    const { self, limits, random, deliver, wake, onOutcome } = options
    this.#timetable = new Timetable(options.clock, limits.federationReceiptMs)
    this.#journeys = new Journeys(limits)
    this.#context = {
      self,
      limits,
      random,
      deliver,
      wake,
      onOutcome,
      timetable: this.#timetable,
      queues: this.#queues,
      homesOf: (envelope) => this.#homesOf(envelope),
      onEnd: (journey) => this.#journeys.delete(journey),
    }
  }

  /** Envelopes that this server tries to get to others. */
  get journeys(): number {
    return this.#journeys.size
  }

  /** Attempts that wait for a stream or a receipt, for this server's envelopes and for those it passes on. */
  get attempts(): number {
    let attempts = 0
    for (const queue of this.#queues.values()) attempts += queue.attempts
    return attempts
  }

  /** Whether an envelope is on its way to a member of the topic. */
  awaits(topicKey: ByteKey): boolean {
    return this.#journeys.hasTopic(topicKey)
  }

  /**
   * Sends an envelope to a server that has the recipient; false when none is known to. Settles within the envelope's ttl or
   * `2 * federationReceiptMs`, whichever is shorter (the latter when it has no ttl).
   */
  send(envelope: RoutedEnvelope, settled: (delivery: RemoteDelivery) => void): boolean {
    const homes = this.#homesOf(envelope)
    const target = homes.find(({ server }) => server !== this.#options.self)
    if (target === undefined) return false
    const journey = new Journey(envelope, settled, this.#context)
    const refusal = this.#journeys.add(journey, target.server)
    if (refusal !== undefined) {
      journey.refuse(refusal)
      return true
    }
    journey.begin(homes)
    return true
  }

  /** The homes of a peer are others than before. */
  homesChanged(topicKey: ByteKey, peer: ByteKey): void {
    for (const journey of this.#journeys.to(topicKey, peer)) journey.go()
  }

  up({ server, limits }: Neighbour): void {
    const own = this.#options.limits
    const maxRequestBytes = limits.maxRequestBytes || own.federationMaxRequestBytes
    this.#queues.set(server, new OutgoingQueue({ limits: own, maxRequestBytes, nextNumber: () => ++this.#lastNumber }))
    for (const journey of this.#journeys.all()) journey.go()
  }

  receive(server: ByteKey, { frame }: Frame): void {
    const queue = this.#queues.get(server)
    if (queue === undefined) return
    if (frame.case === 'receipts') for (const receipt of frame.value.receipts) queue.receive(receipt)
    else if (frame.case === 'envelopes')
      for (const routed of frame.value.envelopes) this.#onEnvelope(server, queue, routed)
    else throw new MeshError(ErrorReason.INVALID_ARGUMENT, `a frame "${frame.case}" on the messages channel`)
  }

  next(server: ByteKey): Frame | undefined {
    return this.#queues.get(server)?.next()
  }

  down(server: ByteKey): void {
    const queue = this.#queues.get(server)
    this.#queues.delete(server)
    queue?.close()
  }

  /** Ends every journey as its deadline would. Idempotent. */
  close(): void {
    for (const journey of this.#journeys.all()) journey.giveUp()
    this.#timetable.close()
  }

  #homesOf({ topicKey, to, toSession }: RoutedEnvelope): readonly Home[] {
    const homes = this.#options.homesOf(topicKey, to)
    return toSession === '' ? homes : homes.filter(({ session }) => session === toSession)
  }

  #onEnvelope(server: ByteKey, back: OutgoingQueue, { envelope, attempt, destination }: RoutedEnvelopeMessage): void {
    const to = byteKey(destination)
    if (to === '' || to === this.#options.self) {
      this.#reply(server, back, attempt, this.#deliver(envelope))
      return
    }
    const reply = (arrival: Arrival): void => this.#reply(server, back, attempt, arrival)
    if (to === server) reply(noWay())
    else this.#passOn(envelope, to, reply)
  }

  #deliver(bytes: Uint8Array): Arrival {
    let envelope: RoutedEnvelope
    try {
      envelope = readStamped(bytes, this.#keys)
    } catch (error) {
      return MeshError.from(error)
    }
    return this.#options.deliver(envelope)
  }

  #passOn(envelope: Uint8Array, to: ByteKey, reply: (arrival: Arrival) => void): void {
    const queue = this.#queues.get(to)
    if (queue?.hasRoomForOthers !== true) {
      reply(noWay())
      return
    }
    // A copy: what it was read from is much larger.
    const attempt = queue.offer(envelope.slice(), NOWHERE, (answer) => {
      this.#timetable.cancel(forget)
      reply(answer === 'lost' ? noWay() : answer)
    })
    if (attempt instanceof MeshError) {
      reply(attempt)
      return
    }
    const forgetAtMs = this.#timetable.nowMs + this.#options.limits.federationReceiptMs
    const forget = this.#timetable.at(forgetAtMs, () => queue.cancel(attempt))
    this.#options.wake(to)
  }

  /** Answers over the stream the attempt came on; after its end nobody listens. */
  #reply(server: ByteKey, back: OutgoingQueue, attempt: bigint, arrival: Arrival): void {
    if (this.#queues.get(server) !== back) return
    back.reply(receiptOf(attempt, arrival))
    this.#options.wake(server)
  }
}
