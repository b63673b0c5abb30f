import { ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  type Event,
  type JoinResponse,
  type NoticeEvent,
  NoticeKind,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { CheckUpCause } from '../check-up.ts'
import { abortError } from '../delay.ts'
import { fromCallError } from './call-error.ts'
import { authorization, runExchange, runSubscribe, type StreamContext } from './event-stream.ts'
import { type IdentifiedEnvelope, Outbox, type OutgoingEnvelope, type SendOutcome } from './outbox.ts'
import { Pauses } from './pauses.ts'
import { type SignalCalls, type SignalSession, signalCalls } from './session.ts'
import { SessionKeeper } from './session-keeper.ts'
import type { SignalClientOptions } from './signal-client-options.ts'
import type { SignalState } from './signal-state.ts'
import { PROBE_TIMEOUT_MS, StreamCheck } from './stream-check.ts'

/** A stream that lasted this long makes the next backoff start over. */
const STABLE_MS = 5_000
const HOUSEKEEPING_MS = 1_000
const CALL_TIMEOUT_MS = 10_000
const CLOSE_TIMEOUT_MS = 2_000

/** A session with an open stream at one signaling server, for as long as the client wants it; see SignalState. */
export class SignalClient {
  readonly origin: string
  readonly #options: SignalClientOptions
  readonly #calls: SignalCalls
  readonly #keeper: SessionKeeper
  readonly #outbox: Outbox
  readonly #pauses: Pauses
  readonly #check: StreamCheck
  readonly #lifetime = new AbortController()
  #stream = new AbortController()
  /** Token and start of the stream that runs. */
  #streamToken: string | undefined
  #connectedAtMs: number | undefined
  #state: SignalState = { kind: 'connecting' }
  #warning: MeshError | undefined
  #housekeeping: Timer | undefined
  #running: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: SignalClientOptions) {
    const { transport, origin, key, order, clock, random, serverKeys, admit = () => {} } = options
    this.origin = origin
    this.#options = options
    this.#calls = signalCalls(transport)
    this.#outbox = new Outbox(clock, random)
    this.#keeper = new SessionKeeper(
      { calls: this.#calls, origin, key, order, clock, random, serverKeys, admit },
      (session, fresh) => this.#opened(session, fresh),
    )
    this.#pauses = new Pauses(clock, random)
    this.#check = new StreamCheck({
      clock,
      state: () => this.#state,
      ask: () => this.#calls.getChallenge({}, { signal: this.#lifetime.signal, timeoutMs: PROBE_TIMEOUT_MS }),
      hurry: () => this.#pauses.skip(),
      restart: () => this.#restart(),
    })
  }

  get state(): SignalState {
    return this.#state
  }

  /** The session, while its server is believed to know it. */
  get session(): SignalSession | undefined {
    return this.#keeper.current
  }

  /** The limit that the server warned of last, on the stream that runs. */
  get warning(): MeshError | undefined {
    return this.#warning
  }

  /** Key of the server this client is connected or connecting to, once it is known. */
  get serverKey(): Uint8Array | undefined {
    const { kind } = this.#state
    return kind === 'connecting' || kind === 'connected' ? this.#keeper.serverKey : undefined
  }

  /** Server time, as far as known: what records are stamped and judged with. */
  wallMs(): number {
    return this.#options.clock.wallMs() + (this.session?.wallOffsetMs ?? 0)
  }

  /** Begins to connect, and keeps at it until close(). Idempotent. */
  start(): void {
    if (this.#running) return
    this.#running = this.#run()
    this.#housekeep()
  }

  join(record: SignedRecord, maxMembers: number): Promise<JoinResponse> {
    return this.#call((options) => this.#calls.join({ record, maxMembers }, options))
  }

  async leave(record: SignedRecord): Promise<void> {
    await this.#call((options) => this.#calls.leave({ record }, options))
  }

  /** See Outbox.send. */
  send(envelope: OutgoingEnvelope | IdentifiedEnvelope, signal?: AbortSignal): Promise<SendOutcome> {
    return this.#outbox.send(envelope, signal)
  }

  /** This side slept, or its network may be another one: see StreamCheck. Comes back without backoff where it is away. */
  check(cause: CheckUpCause): void {
    this.#check.check(cause)
  }

  /** Ends the stream because its server is about to stop, and comes back after `forMs` at the earliest. */
  standAside(forMs: number): void {
    const message = `${this.origin} is stopping`
    this.#endStream(new MeshError(ErrorReason.DRAINING, message, { retryAfterMs: forMs }))
  }

  /** Closes the session (others see LEFT at once), then the connection. Idempotent; resolves within 2 s. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { kind } = this.#state
    const session = kind === 'connecting' || kind === 'connected' ? this.session : undefined
    this.#finish(undefined, new MeshError(ErrorReason.SESSION_CLOSED, 'the client was closed'))
    if (session) {
      const options = { headers: authorization(session), timeoutMs: CLOSE_TIMEOUT_MS }
      // The server forgets the session by itself when this does not arrive.
      await this.#calls.closeSession({}, options).catch(() => undefined)
    }
    await this.#running
    this.#options.transport.close()
  }

  /** Opens the stream again, at once and by a new connection. */
  #restart(): void {
    this.#pauses.skip()
    this.#endStream(new MeshError(ErrorReason.UNREACHABLE, `${this.origin} may be out of reach`, { retryable: true }))
    this.#options.transport.reset?.()
  }

  async #run(): Promise<void> {
    while (this.#state.kind !== 'closed') {
      this.#connectedAtMs = undefined
      this.#warning = undefined
      this.#check.begin()
      this.#streamToken = undefined
      try {
        this.#setState({ kind: 'connecting' })
        await this.#connectOnce()
      } catch (cause) {
        if (this.#lifetime.signal.aborted) return
        const error = fromCallError(cause, this.origin, this.#lifetime.signal)
        if (this.#keeper.isFinal(error)) return this.#finish(error, error)
        await this.#recover(error)
      }
    }
  }

  /** After a stream ended: what must be forgotten, and how long to wait. */
  async #recover(error: MeshError): Promise<void> {
    const { clock } = this.#options
    this.#outbox.restart()
    // The stream ended with its token, and the next token is here: not worth a word.
    if (this.#keeper.outlives(error, this.#streamToken)) return
    const isLost = this.#keeper.lost(error)
    this.#keeper.forgetOn(error, this.#streamToken)
    // The attempt that found this out had its pause: nobody waits twice for one restart.
    if (isLost) return
    const heldMs = this.#connectedAtMs === undefined ? 0 : clock.monotonicMs() - this.#connectedAtMs
    if (heldMs > STABLE_MS) this.#pauses.reset()
    this.#setState({ kind: 'waiting', error })
    await this.#pauses.wait(error.retryAfterMs, this.#lifetime.signal)
  }

  /** Opens or renews the session if needed and runs one stream. Always rejects, with the reason the stream ended. */
  async #connectOnce(): Promise<never> {
    const { clock, transport } = this.#options
    this.#stream = new AbortController()
    const signal = AbortSignal.any([this.#lifetime.signal, this.#stream.signal])
    const session = await this.#keeper.ensure(signal)
    this.#streamToken = session.token
    const context: StreamContext = {
      calls: this.#calls,
      session,
      outbox: this.#outbox,
      clock,
      origin: this.origin,
      cursor: this.#keeper.cursor,
      signal,
      onAlive: () => this.#check.alive(),
      onEvents: (events) => {
        if (this.#connectedAtMs === undefined) this.#connected(session)
        for (const event of events) this.#handle(event)
      },
    }
    return await (transport.duplex ? runExchange(context) : runSubscribe(context))
  }

  #opened({ limits }: SignalSession, fresh: boolean): void {
    this.#outbox.configure(limits)
    // Joining need not wait for the stream: what happens in between is replayed on it.
    if (fresh) this.#options.events.opened()
  }

  #connected(session: SignalSession): void {
    this.#connectedAtMs = this.#options.clock.monotonicMs()
    const fresh = this.#keeper.confirm()
    this.#setState({ kind: 'connected', session })
    this.#options.events.connected(fresh)
  }

  #handle(event: Event): void {
    this.#keeper.handled(event.cursor)
    const { events } = this.#options
    switch (event.event.case) {
      case 'members':
        return events.members(event.event.value)
      case 'message':
        return events.message(event.event.value)
      case 'gap':
        return events.gap()
      case 'notice':
        return this.#notice(event.event.value)
    }
  }

  #notice(notice: NoticeEvent): void {
    const { kind, detail } = notice
    if (kind === NoticeKind.SESSION_REPLACED) {
      const message = 'another process with the same identity took the session over'
      const error = new MeshError(ErrorReason.SESSION_REPLACED, message, { ...(detail && { value: detail.value }) })
      if (this.#keeper.isFinal(error)) this.#finish(error, error)
      else this.#endStream(error)
    } else if (kind === NoticeKind.TOKEN_EXPIRED) {
      this.#endStream(new MeshError(ErrorReason.TOKEN_EXPIRED, 'the token of the stream expired', { retryable: true }))
    } else if (kind === NoticeKind.DRAINING) {
      this.#options.events.draining(notice)
    } else if (kind === NoticeKind.LIMIT_WARNING && detail) {
      this.#warning = MeshError.fromDetail(detail, `close to the limit ${detail.limit} of ${this.origin}`)
    }
  }

  #endStream(reason: MeshError): void {
    this.#stream.abort(reason)
  }

  async #call<T>(
    call: (options: { headers: Record<string, string>; signal: AbortSignal; timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    const { session } = this
    if (this.#state.kind === 'closed') throw this.#state.error ?? abortError(this.#lifetime.signal)
    if (!session) throw new MeshError(ErrorReason.UNREACHABLE, `no session at ${this.origin} yet`, { retryable: true })
    try {
      return await call({ headers: authorization(session), signal: this.#lifetime.signal, timeoutMs: CALL_TIMEOUT_MS })
    } catch (cause) {
      const error = fromCallError(cause, this.origin, this.#lifetime.signal)
      if (!this.#keeper.forgetOn(error, session.token)) throw error
      this.#endStream(error)
      // The next session is on its way: for the caller this is a matter of time.
      throw new MeshError(error.reason, error.message, { retryable: true, cause })
    }
  }

  #housekeep(): void {
    this.#housekeeping = this.#options.clock.schedule(HOUSEKEEPING_MS, () => {
      this.#outbox.expire()
      if (this.#state.kind === 'connected' && this.#keeper.renewalDue) void this.#renew()
      if (this.#state.kind !== 'closed') this.#housekeep()
    })
  }

  async #renew(): Promise<void> {
    const error = await this.#keeper.renew(this.#lifetime.signal)
    if (error) this.#endStream(error)
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
