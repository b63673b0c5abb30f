import { Backoff, type Clock, ErrorReason, MeshError, type Random, type SigningKey, type Timer } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  type Envelope,
  type Event,
  type JoinResponse,
  type LookupResponse,
  type MembersEvent,
  NoticeKind,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { abortError, delay } from '../delay.ts'
import type { SignalTransport } from '../platform.ts'
import { fromCallError } from './call-error.ts'
import { authorization, runExchange, runSubscribe, type StreamContext } from './event-stream.ts'
import { Outbox, type OutgoingEnvelope, type SendOutcome } from './outbox.ts'
import { openSession, type SessionOpener, type SignalSession, signalCalls } from './session.ts'
import type { SessionOrder } from './session-order.ts'

/**
 * One signaling server, for as long as the client wants it. What is wanted is a session with an open stream; the loop in
 * `#run` compares that with what is and moves, with backoff and full jitter:
 *
 *   connecting ── session opened, first event ──▶ connected
 *       ▲                                             │ stream ends, server lost, token expired
 *       └──────── backoff over ──── waiting ◀─────────┘
 *
 * and, from any state, to closed: by close(), or because a newer session of the same peer took over.
 */
export type SignalState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected'; readonly session: SignalSession }
  | { readonly kind: 'waiting'; readonly error: MeshError }
  | { readonly kind: 'closed'; readonly error: MeshError | undefined }

export interface SignalEvents {
  /** There is a new session: memberships must be joined again. Its stream is being opened meanwhile. */
  opened(): void
  /** The stream is up. `fresh`: for the first time in this session. */
  connected(fresh: boolean): void
  members(event: MembersEvent): void
  message(envelope: Envelope): void
  /** Events were lost: join again and compare. */
  gap(): void
  /** Every change of state. */
  state(state: SignalState): void
}

export interface SignalClientOptions {
  readonly transport: SignalTransport
  readonly origin: string
  readonly key: SigningKey
  readonly order: SessionOrder
  readonly clock: Clock
  readonly random: Random
  readonly pinnedServerKey?: Uint8Array | undefined
  readonly events: SignalEvents
}

const BACKOFF = { initialMs: 250, maxMs: 15_000, floorMs: 50 }
/** A stream that lasted this long makes the next backoff start over. */
const STABLE_MS = 5_000
const HOUSEKEEPING_MS = 1_000
const CALL_TIMEOUT_MS = 10_000
const CLOSE_TIMEOUT_MS = 2_000

export class SignalClient {
  readonly origin: string
  readonly #options: SignalClientOptions
  readonly #opener: SessionOpener
  readonly #outbox: Outbox
  readonly #backoff: Backoff
  readonly #lifetime = new AbortController()
  #stream = new AbortController()
  #state: SignalState = { kind: 'connecting' }
  #session: SignalSession | undefined
  #everConnected = false
  #cursor = 0n
  #housekeeping: Timer | undefined
  #running: Promise<void> | undefined

  constructor(options: SignalClientOptions) {
    const { transport, origin, key, order, clock, random, pinnedServerKey } = options
    this.origin = origin
    this.#options = options
    this.#opener = { calls: signalCalls(transport), origin, key, order, clock, random, pinnedServerKey }
    this.#outbox = new Outbox(clock, random)
    this.#backoff = new Backoff({ ...BACKOFF, random })
  }

  get state(): SignalState {
    return this.#state
  }

  /** The session, while its server is believed to know it. */
  get session(): SignalSession | undefined {
    return this.#session
  }

  /** Server time, as far as known: what records are stamped and judged with. */
  wallMs(): number {
    return this.#options.clock.wallMs() + (this.#session?.wallOffsetMs ?? 0)
  }

  /** Begins to connect, and keeps at it until close(). */
  start(): void {
    this.#running ??= this.#run()
    this.#housekeep()
  }

  join(record: SignedRecord, maxMembers: number): Promise<JoinResponse> {
    return this.#call((options) => this.#opener.calls.join({ record, maxMembers }, options))
  }

  async leave(record: SignedRecord): Promise<void> {
    await this.#call((options) => this.#opener.calls.leave({ record }, options))
  }

  /** Members of a topic without joining it, one page at a time. */
  lookup(topic: Uint8Array, pageToken: string): Promise<LookupResponse> {
    return this.#call((options) =>
      this.#opener.calls.lookup({ target: { case: 'topic', value: topic }, pageToken }, options),
    )
  }

  /** See Outbox.send. */
  send(envelope: OutgoingEnvelope, signal?: AbortSignal): Promise<SendOutcome> {
    return this.#outbox.send(envelope, signal)
  }

  /** Checks the connection now instead of at the next timer: after sleep, or when the network changed. */
  nudge(): void {
    if (this.#state.kind !== 'closed') this.#endStream(new MeshError(ErrorReason.ABORTED, 'checking the connection'))
  }

  /** Closes the session (others see LEFT at once), then the connection. Idempotent; resolves within 2 s. */
  async close(): Promise<void> {
    if (this.#state.kind !== 'closed') {
      const session = this.#session
      const error = new MeshError(ErrorReason.SESSION_CLOSED, 'the client was closed')
      this.#finish(undefined, error)
      if (session) {
        const options = { headers: authorization(session), timeoutMs: CLOSE_TIMEOUT_MS }
        // The server forgets the session by itself when this does not arrive.
        await this.#opener.calls.closeSession({}, options).catch(() => undefined)
      }
    }
    await this.#running
    this.#options.transport.close()
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    while (this.#state.kind !== 'closed') {
      const startedMs = clock.monotonicMs()
      try {
        this.#setState({ kind: 'connecting' })
        await this.#connectOnce()
      } catch (cause) {
        const error = fromCallError(cause, this.origin, this.#lifetime.signal)
        if (this.#lifetime.signal.aborted) return
        if (error.reason === ErrorReason.SESSION_REPLACED || error.reason === ErrorReason.SERVER_KEY_MISMATCH) {
          return this.#finish(error, error)
        }
        this.#forgetSessionOn(error)
        this.#outbox.restart()
        if (clock.monotonicMs() - startedMs > STABLE_MS) this.#backoff.reset()
        this.#setState({ kind: 'waiting', error })
        const waitMs = Math.max(this.#backoff.next(), error.retryAfterMs)
        await delay(clock, waitMs, this.#lifetime.signal).catch(() => undefined)
      }
    }
  }

  /** Opens or renews the session if needed and runs one stream. Always rejects, with the reason the stream ended. */
  async #connectOnce(): Promise<never> {
    const { clock, transport } = this.#options
    this.#stream = new AbortController()
    const signal = AbortSignal.any([this.#lifetime.signal, this.#stream.signal])
    let fresh = false
    if (!this.#session || clock.monotonicMs() >= this.#session.renewAtMs) {
      fresh = await this.#openSession(signal)
    }
    const session = this.#session as SignalSession
    let announced = false
    const context: StreamContext = {
      calls: this.#opener.calls,
      session,
      outbox: this.#outbox,
      clock,
      origin: this.origin,
      cursor: this.#cursor,
      signal,
      onEvents: (events) => {
        if (!announced) {
          announced = true
          this.#everConnected = true
          this.#setState({ kind: 'connected', session })
          this.#options.events.connected(fresh)
        }
        for (const event of events) this.#handle(event)
      },
    }
    return await (transport.duplex ? runExchange(context) : runSubscribe(context))
  }

  async #openSession(signal: AbortSignal): Promise<boolean> {
    const opened = await openSession(this.#opener, this.#session, this.#everConnected, signal)
    this.#session = opened.session
    this.#outbox.configure(opened.session.limits)
    if (!opened.fresh) return false
    this.#cursor = 0n
    // Joining need not wait for the stream: what happens in between is replayed on it.
    this.#options.events.opened()
    return true
  }

  #handle(event: Event): void {
    if (event.cursor > this.#cursor) this.#cursor = event.cursor
    const { events } = this.#options
    switch (event.event.case) {
      case 'members':
        return events.members(event.event.value)
      case 'message':
        return events.message(event.event.value)
      case 'gap':
        return events.gap()
      case 'notice':
        return this.#notice(event.event.value.kind)
    }
  }

  #notice(kind: NoticeKind): void {
    if (kind === NoticeKind.SESSION_REPLACED) {
      const message = 'another process with the same identity took the session over'
      const error = new MeshError(ErrorReason.SESSION_REPLACED, message)
      this.#finish(error, error)
    } else if (kind === NoticeKind.TOKEN_EXPIRED && this.#session) {
      this.#session = { ...this.#session, renewAtMs: 0 }
    }
  }

  #endStream(reason: MeshError): void {
    this.#stream.abort(reason)
  }

  /** Errors after which the token is worth nothing. */
  #forgetSessionOn(error: MeshError): void {
    switch (error.reason) {
      case ErrorReason.TOKEN_EXPIRED:
      case ErrorReason.TOKEN_INVALID:
      case ErrorReason.SESSION_UNKNOWN:
      case ErrorReason.SESSION_CLOSED:
        this.#session = undefined
    }
  }

  async #call<T>(
    call: (options: { headers: Record<string, string>; signal: AbortSignal; timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    const session = this.#session
    if (this.#state.kind === 'closed') throw this.#state.error ?? abortError(this.#lifetime.signal)
    if (!session) throw new MeshError(ErrorReason.UNREACHABLE, `no session at ${this.origin} yet`, { retryable: true })
    try {
      return await call({ headers: authorization(session), signal: this.#lifetime.signal, timeoutMs: CALL_TIMEOUT_MS })
    } catch (cause) {
      const error = fromCallError(cause, this.origin, this.#lifetime.signal)
      if (this.#session === session) {
        this.#forgetSessionOn(error)
        if (!this.#session) this.#endStream(error)
      }
      throw error
    }
  }

  #housekeep(): void {
    this.#housekeeping = this.#options.clock.schedule(HOUSEKEEPING_MS, () => {
      this.#outbox.expire()
      const session = this.#session
      if (this.#state.kind === 'connected' && session && this.#options.clock.monotonicMs() >= session.renewAtMs) {
        this.#renew(session)
      }
      if (this.#state.kind !== 'closed') this.#housekeep()
    })
  }

  /** Renews under the running stream; when that fails, the next stream tries again. */
  #renew(session: SignalSession): void {
    this.#session = { ...session, renewAtMs: this.#options.clock.monotonicMs() + CALL_TIMEOUT_MS }
    openSession(this.#opener, session, true, this.#lifetime.signal).then(
      (opened) => {
        if (this.#state.kind === 'closed') return
        if (!opened.fresh) this.#session = opened.session
        else
          this.#endStream(
            new MeshError(ErrorReason.SESSION_UNKNOWN, 'the session could not be renewed', { retryable: true }),
          )
      },
      (error: MeshError) => this.#endStream(error),
    )
  }

  #setState(state: SignalState): void {
    if (this.#state.kind === 'closed') return
    this.#state = state
    this.#options.events.state(state)
  }

  /** The one way out. `error` is undefined when the application closed it. */
  #finish(error: MeshError | undefined, reason: MeshError): void {
    if (this.#state.kind === 'closed') return
    this.#setState({ kind: 'closed', error })
    this.#housekeeping?.cancel()
    this.#lifetime.abort(reason)
    this.#outbox.close(reason)
  }
}
