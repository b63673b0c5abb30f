import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, signSessionGrant, verifySessionProof } from '@mesh/core'
import type { SessionLimitsSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import {
  type GetChallengeResponseSchema,
  type OpenSessionRequest,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { byteKey } from '../../byte-key.ts'
import type { Call } from '../../http/call.ts'
import type { ServerLimits } from '../../limits/server-limits.ts'
import { nodeVerify } from '../../session/node-verify.ts'
import type { Session } from '../../session/session.ts'
import { authenticate, refuseWhileDraining } from './authenticate.ts'
import type { SignalCore } from './signal-core.ts'

/** A stateless challenge. @throws MeshError DRAINING. */
export function getChallenge(core: SignalCore): MessageInitShape<typeof GetChallengeResponseSchema> {
  refuseWhileDraining(core)
  return {
    challenge: core.challenges.issue(),
    serverKey: core.key.publicKey,
    serverTimeMs: BigInt(Math.trunc(core.clock.wallMs())),
    ttlMs: core.limits.challengeTtlMs,
  }
}

/**
 * Opens a session, or renews the one whose token comes along. In order: quota of the address, the proof (shape, signature,
 * server key, origin), the challenge (genuine, fresh, unused), then the session itself.
 * @throws MeshError DRAINING, LIMIT_EXCEEDED, INVALID_ARGUMENT, KEY_INVALID, SIGNATURE_INVALID, SERVER_KEY_MISMATCH,
 * ORIGIN_MISMATCH, CHALLENGE_INVALID, CHALLENGE_EXPIRED, CHALLENGE_USED, SESSION_REPLACED.
 */
export async function openSession(
  core: SignalCore,
  call: Call,
  request: OpenSessionRequest,
): Promise<OpenSessionResponse> {
  refuseWhileDraining(core)
  core.addressQuota.take(call.remoteAddress)
  if (request.proof === undefined) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'OpenSession needs a proof')
  const origins = (origin: string): boolean => isOwnOrigin(origin, call)
  const proof = await verifySessionProof(request.proof, { serverKey: core.key.publicKey, origins, verify: nodeVerify })
  core.challenges.spend(proof.challenge)
  const renewed = renewable(core, call, request.token, proof.peerKey)
  renewed?.renew(proof.sessionOrder)
  const session = renewed ?? core.sessions.open(proof.peerKey, proof.sessionOrder)
  const { limits, clock } = core
  const expiresAtMs = Math.trunc(clock.wallMs()) + limits.tokenTtlMs
  const token = core.tokens.issue(session.id, call.authority, clock.monotonicMs() + limits.tokenTtlMs)
  const { clientNonce, peerKey, origin } = proof
  const grant = await signSessionGrant(core.key, { clientNonce, sessionId: session.id, peerKey, origin, expiresAtMs })
  call.markAuthenticated()
  core.metrics.sessionsOpened.add(renewed === undefined ? 'new' : 'renewed')
  return create(OpenSessionResponseSchema, {
    token,
    grant,
    renewed: renewed !== undefined,
    iceServers: core.iceServers(),
    limits: sessionLimits(limits),
    heartbeatMs: limits.heartbeatMs,
    leaseMs: limits.leaseMs,
    serverTimeMs: BigInt(Math.trunc(clock.wallMs())),
  })
}

/** Ends the caller's session. @throws MeshError as `authenticate`. */
export function closeSession(core: SignalCore, call: Call): void {
  const { session } = authenticate(core, call, 'finish')
  core.sessions.end(session, { kind: 'closed' })
}

/**
 * The origin must be the one this very call was sent to: host and port of the request, which passed the allow-list. The
 * scheme must be https when this server ended the TLS; before a proxy that does, either may be right.
 */
function isOwnOrigin(origin: string, call: Call): boolean {
  const [scheme, authority] = origin.split('://', 2)
  if (authority !== call.authority) return false
  return scheme === 'https' || (scheme === 'http' && !call.encrypted)
}

/** The live session of this peer that `token` names. A token that names none is no error: a new session opens. */
function renewable(core: SignalCore, call: Call, token: string, peerKey: Uint8Array): Session | undefined {
  if (token === '') return undefined
  try {
    const { sessionKey } = core.tokens.verify(token, call.authority)
    const session = core.sessions.get(sessionKey)
    return session?.peer === byteKey(peerKey) ? session : undefined
  } catch (error) {
    if (error instanceof MeshError) return undefined
    throw error
  }
}

function sessionLimits(limits: ServerLimits): MessageInitShape<typeof SessionLimitsSchema> {
  return {
    maxMessageBytes: limits.maxMessageBytes,
    maxRequestBytes: limits.maxRequestBytes,
    maxTopics: limits.maxTopicsPerSession,
    maxStreams: limits.maxStreamsPerSession,
    maxMembers: limits.maxMembersPerJoin,
    joinsPerSecond: limits.joinsPerSecond,
    joinsBurst: limits.joinsBurst,
    messagesPerSecond: limits.messagesPerSecond,
    messagesBurst: limits.messagesBurst,
    pairMessagesPerSecond: limits.pairMessagesPerSecond,
    pairMessagesBurst: limits.pairMessagesBurst,
    maxRecordTtlMs: limits.maxRecordTtlMs,
    minRecordTtlMs: limits.minRecordTtlMs,
    maxStateBytes: limits.maxStateBytes,
  }
}
