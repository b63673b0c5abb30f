import { ErrorReason, MeshError } from '@mesh/core'
import type { Call } from '../../http/call.ts'
import { type Session, sessionEndError } from '../../session/session.ts'
import type { SignalCore } from './signal-core.ts'

export interface Authenticated {
  readonly session: Session
  /** Monotonic time; no stream of this call outlives it. */
  readonly tokenExpiresAtMs: number
}

/** "authorization: Bearer <token>"; the scheme is case-insensitive (RFC 9110, section 11.1). */
const BEARER = /^bearer +(\S+)$/i

/** A draining server refuses what begins something, and answers what ends or finishes it. */
export type CallPurpose = 'begin' | 'finish'

/**
 * The live session whose token the call carries.
 * @throws MeshError DRAINING (calls that begin something), TOKEN_MISSING, TOKEN_INVALID, ORIGIN_MISMATCH, TOKEN_EXPIRED, and for a genuine token whose
 * session ended SESSION_REPLACED (value: the newer order), SESSION_CLOSED or SESSION_UNKNOWN.
 */
export function authenticate(core: SignalCore, call: Call, purpose: CallPurpose = 'begin'): Authenticated {
  if (purpose === 'begin') refuseWhileDraining(core)
  const token = BEARER.exec(call.authorization ?? '')?.[1]
  if (token === undefined) {
    throw new MeshError(ErrorReason.TOKEN_MISSING, 'this call needs "authorization: Bearer <token>" from OpenSession')
  }
  const { sessionKey, expiresAtMs } = core.tokens.verify(token, call.authority)
  const session = core.sessions.get(sessionKey)
  if (session === undefined) throw sessionEndError(core.sessions.endOf(sessionKey) ?? { kind: 'expired' })
  call.markAuthenticated()
  return { session, tokenExpiresAtMs: expiresAtMs }
}

/** @throws MeshError DRAINING while the server drains. */
export function refuseWhileDraining(core: SignalCore): void {
  const retryAfterMs = core.drainingMs()
  if (retryAfterMs !== undefined) throw draining(retryAfterMs)
}

export function draining(retryAfterMs: number): MeshError {
  return new MeshError(ErrorReason.DRAINING, 'the server is stopping; use another one, or come back later', {
    retryAfterMs,
  })
}
