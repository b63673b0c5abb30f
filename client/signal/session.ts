import { type Client, createClient } from '@connectrpc/connect'
import {
  type Clock,
  ErrorReason,
  equalBytes,
  generateSessionKeyPair,
  MeshError,
  type Random,
  type SessionKeyPair,
  type SigningKey,
  sessionKeyId,
  signSessionProof,
  verifySessionGrant,
} from '@mesh/core'
import type { IceServer, SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { RtcIceServer } from '../connection/rtc.ts'
import type { SignalTransport } from '../platform.ts'
import { fromCallError } from './call-error.ts'
import type { SessionOrder } from './session-order.ts'

/**
 * Opening a session, in three steps:
 *
 *  1. GetChallenge: the server's key and a challenge.
 *  2. The peer signs challenge, server key, the origin it dialled and a nonce of its own (SessionProof). A server that
 *     relays another one's challenge gets a proof that names the wrong origin.
 *  3. OpenSession: token and session id, with the server's signature over the peer's nonce (SessionGrant).
 */

export type SignalCalls = Client<typeof SignalService>

/** A session at one server, as long as its id lives; renewing gives a new value with the same id and key pair. */
export interface SignalSession {
  readonly id: Uint8Array
  readonly order: bigint
  readonly token: string
  /** Ed25519 public key of the server. */
  readonly serverKey: Uint8Array
  /** Signals for this session are sealed to it; lives in memory only. */
  readonly sessionKey: SessionKeyPair
  /** What a signal sealed to it says it is sealed to (SealedSignal.key_id). */
  readonly keyId: Uint8Array
  readonly limits: SessionLimits | undefined
  readonly iceServers: readonly RtcIceServer[]
  readonly heartbeatMs: number
  /** On the clock's monotonic time. */
  readonly renewAtMs: number
  /** Add to the local wall clock to get the server's; 0 while the two agree within 5 s. */
  readonly wallOffsetMs: number
}

export interface SessionOpener {
  readonly calls: SignalCalls
  readonly origin: string
  readonly key: SigningKey
  readonly order: SessionOrder
  readonly clock: Clock
  readonly random: Random
  /** Refuse any other server key. */
  readonly serverKeys: readonly Uint8Array[] | undefined
  /** Called with the key the server shows, before anything is proved to it; throws to have no session there. */
  readonly admit: (serverKey: Uint8Array) => void
}

export interface OpenedSession {
  readonly session: SignalSession
  /** False when the server knew the previous token: memberships and cursor still hold. */
  readonly fresh: boolean
}

const CALL_TIMEOUT_MS = 10_000
/** Below this, a difference between the clocks is taken for network delay. */
const CLOCK_TOLERANCE_MS = 5_000
/** Most times a starting process raises its session order above another's before it gives up. */
const MAX_ORDER_RAISES = 3

export function signalCalls(transport: SignalTransport): SignalCalls {
  return createClient(SignalService, transport.transport)
}

/** Opens a session, or renews `previous`. Rejects with a MeshError; aborting rejects with ABORTED. */
export async function openSession(
  opener: SessionOpener,
  previous: SignalSession | undefined,
  signal: AbortSignal,
): Promise<OpenedSession> {
  for (let raise = 0; ; ) {
    try {
      const opened = await tryOpenSession(opener, previous, signal)
      if (opener.order.use(opened.session.order)) return opened
    } catch (cause) {
      const error = fromCallError(cause, opener.origin, signal)
      const isBelow = error.reason === ErrorReason.SESSION_REPLACED && error.value !== undefined
      if (!isBelow || raise++ >= MAX_ORDER_RAISES || !opener.order.startAbove(error.value as bigint)) throw error
    }
  }
}

async function tryOpenSession(
  opener: SessionOpener,
  previous: SignalSession | undefined,
  signal: AbortSignal,
): Promise<OpenedSession> {
  const { calls, origin, key, clock, serverKeys } = opener
  const options = { signal, timeoutMs: CALL_TIMEOUT_MS }
  const { challenge, serverKey } = await calls.getChallenge({}, options)
  if (serverKeys && !serverKeys.some((pinned) => equalBytes(pinned, serverKey))) {
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, `${origin} shows another key than the one it is pinned to`)
  }
  opener.admit(serverKey)
  const clientNonce = opener.random.bytes(16)
  const sessionOrder = previous?.order ?? opener.order.next()
  const proof = await signSessionProof(key, { challenge, serverKey, origin, clientNonce, sessionOrder })
  const response = await calls.openSession({ proof, token: previous?.token ?? '' }, options)
  if (!response.grant) throw new MeshError(ErrorReason.SIGNATURE_INVALID, `${origin} sent no signed grant`)
  const grant = await verifySessionGrant(response.grant, { serverKey, clientNonce, peerKey: key.publicKey, origin })
  const ttlMs = Math.max(0, Number(grant.expiresAtMs - response.serverTimeMs))
  const kept = previous && response.renewed && equalBytes(previous.id, grant.sessionId) ? previous : undefined
  const sessionKey = kept?.sessionKey ?? (await generateSessionKeyPair())
  const offsetMs = Number(response.serverTimeMs) - clock.wallMs()
  const session: SignalSession = {
    id: grant.sessionId,
    order: sessionOrder,
    token: response.token,
    serverKey,
    sessionKey,
    keyId: kept?.keyId ?? (await sessionKeyId(sessionKey.publicKey)),
    limits: response.limits,
    iceServers: response.iceServers.map(toRtcIceServer),
    heartbeatMs: response.heartbeatMs || 10_000,
    renewAtMs: clock.monotonicMs() + (ttlMs * 2) / 3,
    wallOffsetMs: Math.abs(offsetMs) > CLOCK_TOLERANCE_MS ? offsetMs : 0,
  }
  return { session, fresh: kept === undefined }
}

function toRtcIceServer(server: IceServer): RtcIceServer {
  if (server.username === '') return { urls: server.urls }
  return { urls: server.urls, username: server.username, credential: server.credential }
}
