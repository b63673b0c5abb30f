import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  ErrorReason,
  fromBase64Url,
  identityTopic,
  MeshError,
  type TokenBucket,
  toBase64Url,
  type VerifiedRecord,
  verifyRecord,
} from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type {
  JoinRequest,
  JoinResponseSchema,
  LeaveRequest,
  LeaveResponseSchema,
  LookupRequest,
  LookupResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { byteKey } from '../../byte-key.ts'
import type { Call } from '../../http/call.ts'
import { limitError, type ServerLimits } from '../../limits/server-limits.ts'
import { nodeVerify } from '../../session/node-verify.ts'
import { type Session, sessionEndError } from '../../session/session.ts'
import { authenticate } from './authenticate.ts'
import type { SignalCore } from './signal-core.ts'

/**
 * Joins a topic, or updates the caller's membership.
 * @throws MeshError as `authenticate`; LIMIT_EXCEEDED; KEY_INVALID, SIGNATURE_INVALID and RECORD_* for the record.
 */
export async function join(
  core: SignalCore,
  call: Call,
  request: JoinRequest,
): Promise<MessageInitShape<typeof JoinResponseSchema>> {
  const { session } = authenticate(core, call)
  takeQuota(session.joins, 'joinsPerSecond', core.limits)
  const record = await verifyOwn(core, session, request.record, MembershipKind.JOIN)
  const joined = core.memberships.join(session, record, request.maxMembers)
  core.router.onJoin(session, byteKey(record.record.topic))
  return joined
}

/** Leaves a topic. @throws MeshError as `join`. */
export async function leave(
  core: SignalCore,
  call: Call,
  request: LeaveRequest,
): Promise<MessageInitShape<typeof LeaveResponseSchema>> {
  const { session } = authenticate(core, call, 'finish')
  takeQuota(session.joins, 'joinsPerSecond', core.limits)
  const record = await verifyOwn(core, session, request.record, MembershipKind.LEAVE)
  return { revision: core.memberships.leave(session, record) }
}

/**
 * Members of a topic, or where a peer is, page by page.
 * @throws MeshError as `authenticate`; LIMIT_EXCEEDED (lookups_per_second); INVALID_ARGUMENT.
 */
export function lookup(
  core: SignalCore,
  call: Call,
  request: LookupRequest,
): MessageInitShape<typeof LookupResponseSchema> {
  const { session } = authenticate(core, call)
  takeQuota(session.lookups, 'lookupsPerSecond', core.limits)
  const { members } = core.backplane
  const { target } = request
  if (target.case === undefined || target.value.byteLength !== KEY_BYTES) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, `Lookup needs a topic or a peer key of ${KEY_BYTES} bytes`)
  }
  if (target.case === 'peerKey') {
    const found = members.get(byteKey(identityTopic(target.value)), byteKey(target.value))
    return { members: found === undefined ? [] : [found.signed] }
  }
  const { maxLookupPage } = core.limits
  const size = request.pageSize === 0 ? maxLookupPage : Math.min(request.pageSize, maxLookupPage)
  const page = members.page(byteKey(target.value), pageOffset(request.pageToken), size)
  const nextPageToken = page.nextOffset === undefined ? '' : pageToken(page.nextOffset)
  return { members: page.records.map((record) => record.signed), nextPageToken }
}

const KEY_BYTES = 32
const PAGE_TOKEN_BYTES = 4

/** A record of the caller's own peer and session, at this server. The session is checked again after the signature. */
async function verifyOwn(
  core: SignalCore,
  session: Session,
  signed: SignedRecord | undefined,
  kind: MembershipKind,
): Promise<VerifiedRecord> {
  if (signed === undefined) throw new MeshError(ErrorReason.RECORD_MALFORMED, 'the request has no record')
  const record = await verifyRecord(signed, {
    verify: nodeVerify,
    nowMs: core.clock.wallMs(),
    peerKey: session.peerKey,
    sessionId: session.id,
    homeKey: core.key.publicKey,
    kind,
    limits: core.limits,
  })
  if (session.end !== undefined) throw sessionEndError(session.end)
  return record
}

function takeQuota(bucket: TokenBucket, name: 'joinsPerSecond' | 'lookupsPerSecond', limits: ServerLimits): void {
  if (!bucket.take()) throw limitError(name, limits[name], { retryAfterMs: bucket.msUntil() })
}

function pageToken(offset: number): string {
  const bytes = new Uint8Array(PAGE_TOKEN_BYTES)
  new DataView(bytes.buffer).setUint32(0, offset)
  return toBase64Url(bytes)
}

/** @throws MeshError INVALID_ARGUMENT for anything but a token of `pageToken`. */
function pageOffset(token: string): number {
  if (token === '') return 0
  const bytes = fromBase64Url(token.slice(0, 2 * PAGE_TOKEN_BYTES))
  if (bytes.byteLength !== PAGE_TOKEN_BYTES) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'the page token is not one of this server')
  }
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
}
