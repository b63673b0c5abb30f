import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type Random } from '@mesh/core'
import { type Envelope, EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, bytesOfKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Arrival, RemoteDelivery, RoutedEnvelope } from '../../backplane.ts'
import type { Home } from '../home.ts'
import { nextRoute, type Route } from './next-route.ts'
import type { Attempt, OutgoingQueue } from './outgoing-queue.ts'
import type { Answer } from './receipt.ts'
import type { Appointment, Timetable } from './timetable.ts'

/** What all journeys share. */
export interface JourneyContext {
  readonly self: ByteKey
  readonly limits: ServerLimits
  readonly random: Random
  readonly timetable: Timetable
  /** By server, those with a messages stream. */
  readonly queues: ReadonlyMap<ByteKey, OutgoingQueue>
  readonly homesOf: (envelope: RoutedEnvelope) => readonly Home[]
  readonly deliver: (envelope: RoutedEnvelope) => Arrival
  readonly wake: (server: ByteKey) => void
  readonly onEnd: (journey: Journey) => void
}

/** First wait after a round in vain, doubled each time up to `federationReceiptMs`. */
const FIRST_REST_MS = 50

const NOWHERE = new Uint8Array()

/**
 * One envelope on its way to a peer of another server, from `send` to its outcome or deadline.
 *
 *  1. A round tries the recipient's homes, the newest session first, one at a time. An attempt ends with its receipt, after
 *     `federationReceiptMs`, or with its stream. NOT_HERE and silence lead to the next home; `delivered`, `held` and a refusal
 *     that another home would repeat end the journey. Homes that were silent are then tried through other servers.
 *  2. After a round in vain it rests, for longer each time, until a home appears or a stream comes up.
 *  3. It ends at its deadline: the envelope's ttl, or two receipts' time when it may not be held. With a ttl the sender is told
 *     `held` after the first round in vain, or two receipts' time, and the journey goes on.
 *  4. An attempt that was not answered in time is still listened to: a late receipt ends the journey all the same, and
 *     what arrived twice is dropped by its destination, or by the client that is at both.
 */
export class Journey {
  readonly envelope: RoutedEnvelope
  readonly outcome: Promise<RemoteDelivery>
  readonly #context: JourneyContext
  readonly #message: Envelope
  readonly #startMs: number
  readonly #deadlineMs: number
  /** Keys of the routes that were tried in this round. */
  readonly #tried = new Set<string>()
  /** Keys of the routes among them that were not answered in time. */
  readonly #silent = new Set<string>()
  /** Attempts that may still be answered: at most one for each route. */
  readonly #attempts = new Map<Attempt, { readonly queue: OutgoingQueue; readonly route: string }>()
  #current: Attempt | undefined
  #appointment: Appointment | undefined
  /** When the sender is told `held`. */
  #patience: Appointment | undefined
  #restMs = FIRST_REST_MS
  #failure: MeshError | undefined
  #mayHaveArrived = false
  #isOver = false
  #tell: ((outcome: RemoteDelivery) => void) | undefined

  constructor(envelope: RoutedEnvelope, context: JourneyContext) {
    this.envelope = envelope
    this.#context = context
    this.#message = fromBinary(EnvelopeSchema, envelope.bytes)
    this.#startMs = context.timetable.nowMs
    this.#deadlineMs = this.#startMs + (envelope.ttlMs > 0 ? envelope.ttlMs : this.#patienceMs)
    this.outcome = new Promise((resolve) => {
      this.#tell = resolve
    })
    if (this.#mayBeHeld)
      this.#patience = context.timetable.at(this.#startMs + this.#patienceMs, () => this.#say('held'))
  }

  /** Starts, or starts a new round at once when it rests: there may be a way now. */
  go(): void {
    if (this.#isOver || this.#current !== undefined) return
    this.#tried.clear()
    this.#silent.clear()
    this.#advance()
  }

  /** Ends it now, as its deadline would. */
  giveUp(): void {
    if (this.#current?.sent === true) this.#mayHaveArrived = true
    this.#end(this.#mayHaveArrived ? 'unanswered' : (this.#failure ?? 'absent'))
  }

  get #patienceMs(): number {
    return 2 * this.#context.limits.federationReceiptMs
  }

  get #mayBeHeld(): boolean {
    return this.envelope.ttlMs > 0
  }

  #advance(): void {
    const { self, queues, random, timetable } = this.#context
    this.#current = undefined
    if (timetable.nowMs >= this.#deadlineMs) {
      this.giveUp()
      return
    }
    for (;;) {
      const homes = this.#context.homesOf(this.envelope)
      const route = nextRoute(homes, queues, { self, tried: this.#tried, silent: this.#silent, random })
      if (route === undefined) {
        this.#rest(homes.length > 0)
        return
      }
      this.#tried.add(route.key)
      if (route.home.server === self ? this.#deliverHere() : this.#attempt(route)) return
    }
  }

  /** False when the next route is to be tried. */
  #deliverHere(): boolean {
    const arrival = this.#context.deliver({ ...this.envelope, ttlMs: this.#ttlLeftMs() })
    if (arrival === 'absent') return false
    if (arrival instanceof MeshError) return this.#refused(arrival)
    this.#end(arrival)
    return true
  }

  /** False when the next route is to be tried. */
  #attempt({ home, via, key }: Route): boolean {
    const { queues, timetable, limits, wake } = this.#context
    const queue = queues.get(via) as OutgoingQueue
    for (const [earlier, { route }] of this.#attempts) if (route === key) this.#callOff(earlier)
    this.#message.ttlMs = this.#ttlLeftMs()
    const destination = via === home.server ? NOWHERE : bytesOfKey(home.server)
    const attempt = queue.offer(this.#message, destination, (answer) => this.#onAnswer(attempt as Attempt, answer))
    if (attempt instanceof MeshError) return this.#refused(attempt)
    this.#current = attempt
    this.#attempts.set(attempt, { queue, route: key })
    this.#meet(timetable.nowMs + limits.federationReceiptMs, () => this.#onSilence(attempt))
    wake(via)
    return true
  }

  #onAnswer(attempt: Attempt, answer: Answer): void {
    if (this.#isOver) return
    this.#attempts.delete(attempt)
    const isCurrent = attempt === this.#current
    if (answer === 'delivered' || answer === 'held') {
      this.#end(answer)
      return
    }
    if (answer === 'lost') this.#mayHaveArrived ||= attempt.sent
    else if (isCurrent && this.#refused(answer)) return
    if (isCurrent) this.#advance()
  }

  #onSilence(attempt: Attempt): void {
    const route = this.#attempts.get(attempt)?.route
    if (route !== undefined) this.#silent.add(route)
    if (attempt.sent) this.#mayHaveArrived = true
    else this.#callOff(attempt)
    this.#advance()
  }

  #callOff(attempt: Attempt): void {
    this.#attempts.get(attempt)?.queue.cancel(attempt)
    this.#attempts.delete(attempt)
  }

  /** Ends the journey, unless another home or a later time may give another answer: then false. */
  #refused(error: MeshError): boolean {
    const isHeld = this.#tell === undefined
    if (!PASSING.has(error.reason) && !(isHeld && error.retryable)) {
      this.#end(error)
      return true
    }
    if (!NOBODY.has(error.reason)) this.#failure = error
    return false
  }

  #rest(hasHomes: boolean): void {
    const { timetable, limits } = this.#context
    if (this.#mayBeHeld) this.#say('held')
    else if (!hasHomes && this.#attempts.size === 0) {
      this.giveUp()
      return
    }
    this.#meet(timetable.nowMs + this.#restMs, () => this.go())
    this.#restMs = Math.min(2 * this.#restMs, limits.federationReceiptMs)
  }

  #meet(atMs: number, run: () => void): void {
    const { timetable } = this.#context
    timetable.cancel(this.#appointment)
    this.#appointment = timetable.at(Math.min(atMs, this.#deadlineMs), run)
  }

  #ttlLeftMs(): number {
    return this.#mayBeHeld ? Math.ceil(this.#deadlineMs - this.#context.timetable.nowMs) : 0
  }

  #say(outcome: RemoteDelivery): void {
    this.#tell?.(outcome)
    this.#tell = undefined
  }

  #end(outcome: RemoteDelivery): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#current = undefined
    this.#context.timetable.cancel(this.#appointment)
    this.#context.timetable.cancel(this.#patience)
    for (const attempt of [...this.#attempts.keys()]) this.#callOff(attempt)
    this.#say(outcome)
    this.#context.onEnd(this)
  }
}

/** Nobody is there: what another home, or this one a little later, may change. */
const NOBODY: ReadonlySet<ErrorReason> = new Set([ErrorReason.NOT_HERE, ErrorReason.UNREACHABLE, ErrorReason.DRAINING])

/** Also: the record of the sender may be on its way there, on the other stream. */
const PASSING: ReadonlySet<ErrorReason> = new Set([...NOBODY, ErrorReason.NOT_MEMBER])
