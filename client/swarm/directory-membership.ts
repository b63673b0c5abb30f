import {
  Backoff,
  type Clock,
  ErrorReason,
  equalBytes,
  MeshError,
  nextSeq,
  type Party,
  type Random,
  type SigningKey,
  signRecord,
  type Timer,
} from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { JoinResponse } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { SignalSession } from '../signal/session.ts'
import type { SignalClient } from '../signal/signal-client.ts'
import type { RecordSeq } from './record-seq.ts'

/**
 * This peer's own membership in one topic at one server. Desired: "joined, with this state". Whatever happens (a new session,
 * a gap in the events, two thirds of the record's life gone, a refused or lost call), the loop signs the next record and
 * joins again until the server has it.
 */
export interface DirectoryMembershipOptions {
  readonly signal: SignalClient
  readonly party: Party
  readonly key: SigningKey
  readonly clock: Clock
  readonly random: Random
  readonly seq: RecordSeq
  readonly state: Uint8Array
  readonly onJoined: (response: JoinResponse) => void
  /** There is a record with another state; the server may not have it yet. */
  readonly onState: () => void
  /** A failed try. One that is not retryable is not repeated before something changes. */
  readonly onError: (error: MeshError) => void
}

const RECORD_TTL_MS = 900_000
/** MembershipRecord.state. */
const MAX_STATE_BYTES = 1_024
/** How far a server may push the seq ahead of its clock: further is no mistake of a clock, and would outlive this server. */
const MAX_SEQ_AHEAD_MS = 24 * 3_600_000
const BACKOFF = { initialMs: 250, maxMs: 30_000, floorMs: 50 }

export class DirectoryMembership {
  readonly #options: DirectoryMembershipOptions
  readonly #backoff: Backoff
  #state: Uint8Array
  #joinedSession: Uint8Array | undefined
  #record: { signed: SignedRecord; session: SignalSession } | undefined
  #signedState: Uint8Array | undefined
  #timer: Timer | undefined
  /** When the record is to be renewed, in server time. */
  #renewAtWallMs = 0
  #wanted = true
  #running = false
  #again = false

  constructor(options: DirectoryMembershipOptions) {
    this.#options = options
    this.#state = options.state
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random })
  }

  /** The current record and the session it names; undefined before the first one is signed. */
  get current(): { readonly signed: SignedRecord; readonly session: SignalSession } | undefined {
    return this.#record
  }

  /** True when the server's session of now has the membership. */
  get joined(): boolean {
    const session = this.#options.signal.session
    return session !== undefined && this.#joinedSession !== undefined && equalBytes(session.id, this.#joinedSession)
  }

  /** Signs and joins as soon as possible. */
  refresh(): void {
    this.#again = true
    if (!this.#running) void this.#run()
  }

  /** The signaling connection is up: joins, unless that is done or under way. */
  resume(): void {
    if (!this.joined && !this.#running) this.refresh()
  }

  /** The process slept, and its timers with it: joins again if the record should have been renewed by now. */
  check(): void {
    if (this.#record && this.#options.signal.wallMs() >= this.#renewAtWallMs) this.refresh()
  }

  /** Throws RECORD_STATE above 1,024 bytes. */
  setState(state: Uint8Array): void {
    if (state.length > MAX_STATE_BYTES) {
      throw new MeshError(ErrorReason.RECORD_STATE, `state has ${state.length} bytes, at most ${MAX_STATE_BYTES}`, {
        limit: 'max_state_bytes',
        limitValue: MAX_STATE_BYTES,
        value: state.length,
      })
    }
    this.#state = state
    this.refresh()
  }

  /** Stops wanting the membership, without a word to the server. */
  abandon(): void {
    this.#wanted = false
    this.#timer?.cancel()
  }

  /** Stops wanting the membership and says so to the server, if it can be reached. */
  async leave(): Promise<void> {
    this.abandon()
    const session = this.#record?.session
    const { session: current, state } = this.#options.signal
    if (!session || !current || !equalBytes(current.id, session.id) || state.kind === 'waiting') return
    // The lease ends the membership when this does not arrive.
    await this.#sign(MembershipKind.LEAVE, session)
      .then((record) => this.#options.signal.leave(record))
      .catch(() => undefined)
  }

  /** Never rejects: what fails is reported, and tried again if that can help. */
  async #run(): Promise<void> {
    this.#running = true
    while (this.#wanted && this.#again) {
      this.#again = false
      await this.#join().catch((cause: unknown) => this.#onError(MeshError.from(cause)))
    }
    this.#running = false
  }

  async #join(): Promise<void> {
    const { signal, onJoined } = this.#options
    const session = signal.session
    if (!session || signal.state.kind === 'closed') return
    const state = this.#state
    const signed = await this.#sign(MembershipKind.JOIN, session)
    this.#record = { signed, session }
    this.#signed(state)
    const response = await signal.join(signed, 0).catch((error: MeshError) => {
      // Signed for a session that was another one by the time it was sent.
      if (!signal.session || equalBytes(signal.session.id, session.id)) throw error
      this.#again = true
    })
    if (!response || !this.#wanted) return
    this.#joinedSession = session.id
    this.#backoff.reset()
    const renewInMs = (recordTtlMs(session) * 2) / 3
    this.#renewAtWallMs = signal.wallMs() + renewInMs
    this.#later(renewInMs)
    onJoined(response)
  }

  #signed(state: Uint8Array): void {
    const isNews = this.#signedState !== undefined && this.#signedState !== state
    this.#signedState = state
    if (isNews) this.#options.onState()
  }

  #onError(error: MeshError): void {
    if (!this.#wanted) return
    // Another life of this peer counted further, or the clock went back: go on above it.
    if (error.reason === ErrorReason.RECORD_STALE && this.#mayGoOnAbove(error.value)) {
      this.#options.seq.goOnAbove(error.value)
      return this.#later(this.#backoff.next())
    }
    this.#options.onError(error)
    // Without a session there is nothing to try; the next one calls refresh().
    if (error.retryable && this.#options.signal.session) this.#later(Math.max(this.#backoff.next(), error.retryAfterMs))
  }

  #mayGoOnAbove(seq: bigint | undefined): seq is bigint {
    return seq !== undefined && seq <= nextSeq(0n, this.#options.signal.wallMs() + MAX_SEQ_AHEAD_MS)
  }

  #later(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.schedule(delayMs, () => this.refresh())
  }

  #sign(kind: MembershipKind, session: SignalSession): Promise<SignedRecord> {
    const { signal, party, key, clock, seq } = this.#options
    const wallMs = signal.wallMs()
    return signRecord(key, {
      kind,
      topic: party.topic,
      sessionId: session.id,
      // By the own clock, so that a server whose clock is ahead does not outdate what others have been given.
      seq: seq.next(clock.wallMs()),
      issuedAtMs: wallMs,
      ttlMs: recordTtlMs(session),
      sessionKey: session.sessionKey.publicKey,
      homeKey: session.serverKey,
      sessionOrder: session.order,
      state: this.#state,
    })
  }
}

/** 15 minutes, or what the server allows. */
function recordTtlMs({ limits }: SignalSession): number {
  const ttlMs = Math.max(RECORD_TTL_MS, limits?.minRecordTtlMs ?? 0)
  return limits?.maxRecordTtlMs ? Math.min(ttlMs, limits.maxRecordTtlMs) : ttlMs
}
