import { concatBytes, ErrorReason, MeshError, type Random } from '@mesh/core'
import { type ByteKey, bytesOfKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { ttlStamp } from '../../../session/event-codec.ts'
import { type Arrival, keptEnvelope, type RemoteDelivery, type RoutedEnvelope } from '../../backplane.ts'
import type { Home } from '../home.ts'
import type { JourneyPlace } from './journeys.ts'
import { isSameRoute, nextRoute, type Route, type TriedRoute } from './next-route.ts'
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
  /** The sender is told. */
  readonly onOutcome: ((outcome: RemoteDelivery) => void) | undefined
  readonly onEnd: (journey: Journey) => void
}

/** First wait after a round in vain, doubled each time up to `federationReceiptMs`. */
const FIRST_REST_MS = 50

const NOWHERE = new Uint8Array()

const NOTHING_TRIED: readonly Trial[] = []

/**
 * A route that was taken. A class, as is all that lives as long as an envelope is on its way: V8 moves literals that outlive a few
 * collections into the old generation from the start, where they keep alive what they lead to long after they are gone themselves.
 */
class Trial implements TriedRoute {
  readonly home: Home
  readonly via: ByteKey
  silent = false
  /** What may still be answered. */
  attempt: Attempt | undefined

  constructor({ home, via }: Route) {
    this.home = home
    this.via = via
  }
}

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
  #envelope: RoutedEnvelope
  /** Written by `Journeys`. */
  place: JourneyPlace | undefined
  readonly #context: JourneyContext
  readonly #startMs: number
  readonly #deadlineMs: number
  /** What was tried in this round. */
  #tried = NOTHING_TRIED
  /** What was tried before `#current` and may still be answered: at most one for each route. */
  #unanswered = NOTHING_TRIED
  #current: Trial | undefined
  #appointment: Appointment | undefined
  /** When the sender is told `held`. */
  #patience: Appointment | undefined
  #restMs = FIRST_REST_MS
  #failure: MeshError | undefined
  #mayHaveArrived = false
  #isOver = false
  #tell: ((outcome: RemoteDelivery) => void) | undefined

  /** `tell` is called once, perhaps long before the journey ends. */
  constructor(envelope: RoutedEnvelope, tell: (outcome: RemoteDelivery) => void, context: JourneyContext) {
    this.#envelope = envelope
    this.#tell = tell
    this.#context = context
    this.#startMs = context.timetable.nowMs
    this.#deadlineMs = this.#startMs + (envelope.ttlMs > 0 ? envelope.ttlMs : this.#patienceMs)
    if (this.#mayBeHeld)
      this.#patience = context.timetable.at(this.#startMs + this.#patienceMs, () => this.#say('held'))
  }

  get envelope(): RoutedEnvelope {
    return this.#envelope
  }

  /** Starts. */
  begin(homes: readonly Home[]): void {
    this.#advance(homes, this.#startMs)
  }

  /** Starts a new round at once when it rests: there may be a way now. */
  go(): void {
    if (this.#isOver || this.#current !== undefined) return
    this.#tried = NOTHING_TRIED
    this.#advance()
  }

  /** Ends it before it began. */
  refuse(error: MeshError): void {
    this.#end(error)
  }

  /** Ends it now, as its deadline would. */
  giveUp(): void {
    if (this.#current?.attempt?.sent === true) this.#mayHaveArrived = true
    this.#end(this.#mayHaveArrived ? 'unanswered' : (this.#failure ?? 'absent'))
  }

  get #patienceMs(): number {
    return 2 * this.#context.limits.federationReceiptMs
  }

  get #mayBeHeld(): boolean {
    return this.envelope.ttlMs > 0
  }

  #advance(homes = this.#context.homesOf(this.envelope), nowMs = this.#context.timetable.nowMs): void {
    const { self, queues, random } = this.#context
    if (this.#current?.attempt !== undefined) this.#unanswered = this.#unanswered.concat(this.#current)
    this.#current = undefined
    if (nowMs >= this.#deadlineMs) {
      this.giveUp()
      return
    }
    for (;;) {
      const route = nextRoute(homes, queues, { self, tried: this.#tried, random })
      if (route === undefined) {
        this.#rest(homes.length > 0, nowMs)
        return
      }
      const trial = new Trial(route)
      this.#tried = this.#tried.concat(trial)
      if (route.home.server === self ? this.#deliverHere() : this.#attempt(trial, nowMs)) return
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
  #attempt(trial: Trial, nowMs: number): boolean {
    const { queues, limits, wake } = this.#context
    const { home, via } = trial
    const queue = queues.get(via) as OutgoingQueue
    for (const earlier of this.#unanswered) if (isSameRoute(earlier, trial)) this.#callOff(earlier)
    const destination = via === home.server ? NOWHERE : bytesOfKey(home.server)
    const attempt = queue.offer(this.#stamped(), destination, (answer) => this.#onAnswer(trial, answer))
    if (attempt instanceof MeshError) return this.#refused(attempt)
    trial.attempt = attempt
    this.#current = trial
    this.#meet(nowMs, limits.federationReceiptMs, () => this.#onSilence(trial))
    wake(via)
    return true
  }

  /** The envelope, with what is left of its ttl. */
  #stamped(): Uint8Array {
    const { bytes } = this.envelope
    return this.#mayBeHeld ? concatBytes(bytes, ttlStamp(this.#ttlLeftMs())) : bytes
  }

  #onAnswer(trial: Trial, answer: Answer): void {
    if (this.#isOver) return
    const wasSent = trial.attempt?.sent === true
    const isCurrent = trial === this.#current
    this.#forget(trial)
    if (answer === 'delivered' || answer === 'held') {
      this.#end(answer)
      return
    }
    if (answer === 'lost') this.#mayHaveArrived ||= wasSent
    else if (isCurrent && this.#refused(answer)) return
    if (isCurrent) this.#advance()
  }

  #onSilence(trial: Trial): void {
    trial.silent = true
    if (trial.attempt?.sent === true) this.#mayHaveArrived = true
    else this.#callOff(trial)
    this.#advance()
  }

  #callOff(trial: Trial): void {
    const { queues } = this.#context
    if (trial.attempt !== undefined) queues.get(trial.via)?.cancel(trial.attempt)
    this.#forget(trial)
  }

  #forget(trial: Trial): void {
    trial.attempt = undefined
    if (this.#unanswered.includes(trial)) this.#unanswered = this.#unanswered.filter((other) => other !== trial)
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

  #rest(hasHomes: boolean, nowMs: number): void {
    const { limits } = this.#context
    if (this.#mayBeHeld) this.#say('held')
    else if (!hasHomes && this.#unanswered.length === 0) {
      this.giveUp()
      return
    }
    // It stays for a while: not with the memory that it shares with others of its sender.
    if (this.#restMs === FIRST_REST_MS) this.#envelope = keptEnvelope(this.#envelope)
    this.#meet(nowMs, this.#restMs, () => this.go())
    this.#restMs = Math.min(2 * this.#restMs, limits.federationReceiptMs)
  }

  #meet(nowMs: number, inMs: number, run: () => void): void {
    const { timetable } = this.#context
    timetable.cancel(this.#appointment)
    this.#appointment = timetable.at(Math.min(nowMs + inMs, this.#deadlineMs), run, nowMs)
  }

  #ttlLeftMs(): number {
    return this.#mayBeHeld ? Math.ceil(this.#deadlineMs - this.#context.timetable.nowMs) : 0
  }

  #say(outcome: RemoteDelivery): void {
    const tell = this.#tell
    if (tell === undefined) return
    this.#tell = undefined
    tell(outcome)
    this.#context.onOutcome?.(outcome)
  }

  #end(outcome: RemoteDelivery): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#context.timetable.cancel(this.#appointment)
    this.#context.timetable.cancel(this.#patience)
    if (this.#current !== undefined) this.#callOff(this.#current)
    for (const trial of this.#unanswered) this.#callOff(trial)
    this.#current = undefined
    this.#say(outcome)
    this.#context.onEnd(this)
  }
}

/** Nobody is there: what another home, or this one a little later, may change. */
const NOBODY: ReadonlySet<ErrorReason> = new Set([ErrorReason.NOT_HERE, ErrorReason.UNREACHABLE, ErrorReason.DRAINING])

/** Also: the record of the sender may be on its way there, on the other stream. */
const PASSING: ReadonlySet<ErrorReason> = new Set([...NOBODY, ErrorReason.NOT_MEMBER])
