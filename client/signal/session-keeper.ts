import { ErrorReason, MeshError } from '@mesh/core'
import { openSession, type SessionOpener, type SignalSession } from './session.ts'
import { sameProcess } from './session-order.ts'

/** After a renewal that failed: the token is good for a third of its life still. */
const RENEW_AGAIN_MS = 10_000
/** A session that worked for this long was no mistake of the server's. */
const STABLE_MS = 5_000

/**
 * The session of one signaling client: opened when there is none, renewed at two thirds of its token's life, and forgotten
 * when the server says that it does not know it any more. A stream ends with the token it was opened with, so a session may
 * have a newer token than its stream; then only the stream is over, not the session.
 */
export class SessionKeeper {
  readonly #opener: SessionOpener
  readonly #onOpened: (session: SignalSession, fresh: boolean) => void
  #serverKey: Uint8Array | undefined
  #session: SignalSession | undefined
  #isNew = false
  #everOpened = false
  #everConfirmed = false
  /** When the first stream of the session delivered; undefined before. */
  #confirmedAtMs: number | undefined
  #renewAgainAtMs = 0
  #cursor = 0n

  /** `onOpened`: after every opening (`fresh`) and renewal. */
  constructor(opener: SessionOpener, onOpened: (session: SignalSession, fresh: boolean) => void) {
    const admit = (serverKey: Uint8Array) => {
      opener.admit(serverKey)
      this.#serverKey = serverKey
    }
    this.#opener = { ...opener, admit }
    this.#onOpened = onOpened
  }

  /** The session, while its server is believed to know it. */
  get current(): SignalSession | undefined {
    return this.#session
  }

  /** Ed25519 public key of the server, as it showed it last. */
  get serverKey(): Uint8Array | undefined {
    return this.#serverKey
  }

  /** Position in the session's events; a new session starts at 0. */
  get cursor(): bigint {
    return this.#cursor
  }

  get renewalDue(): boolean {
    const nowMs = this.#opener.clock.monotonicMs()
    return this.#session !== undefined && nowMs >= Math.max(this.#session.renewAtMs, this.#renewAgainAtMs)
  }

  /** Gives the session for the next stream, opening or renewing it first when needed. */
  async ensure(signal: AbortSignal): Promise<SignalSession> {
    const session = this.#session
    if (session && this.#opener.clock.monotonicMs() < session.renewAtMs) return session
    const opened = await openSession(this.#opener, session, signal)
    return this.#adopt(opened.session, opened.fresh)
  }

  /**
   * Renews under a running stream. Resolves with why that has to end: the server refuses for good, or opened a new session instead,
   * which the next stream belongs to. Undefined: it goes on, and a failure that can pass is tried again.
   */
  async renew(signal: AbortSignal): Promise<MeshError | undefined> {
    const session = this.#session
    if (!session) return undefined
    this.#renewAgainAtMs = this.#opener.clock.monotonicMs() + RENEW_AGAIN_MS
    try {
      const { session: renewed, fresh } = await openSession(this.#opener, session, signal)
      // Meanwhile another stream may have opened a session of its own.
      if (this.#session?.token !== session.token) return undefined
      this.#adopt(renewed, fresh)
      return fresh ? sessionReopened() : undefined
    } catch (cause) {
      const error = MeshError.from(cause)
      return error.retryable ? undefined : error
    }
  }

  /** The session's stream delivered. True the first time in a session. */
  confirm(): boolean {
    const isNew = this.#isNew
    this.#isNew = false
    this.#everConfirmed = true
    this.#confirmedAtMs ??= this.#opener.clock.monotonicMs()
    return isNew
  }

  /** Everything up to this cursor is handled. */
  handled(cursor: bigint): void {
    if (cursor > this.#cursor) this.#cursor = cursor
  }

  /** True when only the token a stream was opened with is over. */
  outlives(error: MeshError, token: string | undefined): boolean {
    const aboutToken = error.reason === ErrorReason.TOKEN_EXPIRED || error.reason === ErrorReason.SESSION_UNKNOWN
    return aboutToken && token !== undefined && this.#session !== undefined && this.#session.token !== token
  }

  /** True when the server is there, and only lost a session that had worked, as a restart does. */
  lost(error: MeshError): boolean {
    if (!SESSION_LOST.has(error.reason) || error.retryAfterMs > 0 || this.#confirmedAtMs === undefined) return false
    return this.#session !== undefined && this.#opener.clock.monotonicMs() - this.#confirmedAtMs > STABLE_MS
  }

  /** Forgets the session after an error that says it is worth nothing; true when it did. `token`: what the error is about. */
  forgetOn(error: MeshError, token: string | undefined): boolean {
    if (!SESSION_ENDED.has(error.reason) || (token !== undefined && token !== this.#session?.token)) return false
    const known = this.#session !== undefined
    this.#session = undefined
    return known
  }

  /** True when there is no use in coming back. */
  isFinal(error: MeshError): boolean {
    switch (error.reason) {
      case ErrorReason.SESSION_REPLACED:
        // By another process, and not by a later session of this one.
        if (this.#session) return error.value === undefined || !sameProcess(error.value, this.#session.order)
        // Never here, while this process has sessions elsewhere: an older life of the peer, whose lease is about to end.
        return this.#everOpened || !this.#opener.order.used
      case ErrorReason.SERVER_KEY_MISMATCH:
        // Without a pin it is a server that was restarted with another key between two calls.
        return this.#opener.serverKeys !== undefined
      default:
        return !this.#everConfirmed && FINAL_AT_FIRST.has(error.reason)
    }
  }

  #adopt(session: SignalSession, fresh: boolean): SignalSession {
    this.#session = session
    this.#everOpened = true
    if (fresh) {
      this.#isNew = true
      this.#confirmedAtMs = undefined
      this.#cursor = 0n
    }
    this.#onOpened(session, fresh)
    return session
  }
}

/** Before the first stream these say that the two do not fit; later they are a server in trouble. */
const FINAL_AT_FIRST: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.ORIGIN_MISMATCH,
  ErrorReason.SIGNATURE_INVALID,
  ErrorReason.KEY_INVALID,
  ErrorReason.NOT_SUPPORTED,
])

const SESSION_LOST: ReadonlySet<ErrorReason> = new Set([ErrorReason.TOKEN_INVALID, ErrorReason.SESSION_UNKNOWN])

const SESSION_ENDED: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.TOKEN_EXPIRED,
  ErrorReason.TOKEN_INVALID,
  ErrorReason.SESSION_UNKNOWN,
  ErrorReason.SESSION_CLOSED,
  ErrorReason.SESSION_REPLACED,
  ErrorReason.CURSOR_INVALID,
])

function sessionReopened(): MeshError {
  const message = 'the server opened a new session instead of renewing the old one'
  return new MeshError(ErrorReason.SESSION_UNKNOWN, message, { retryable: true })
}
