import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  generateSessionKeyPair,
  generateSigningKey,
  nextSeq,
  type SigningKey,
  signRecord,
  signSessionProof,
  systemRandom,
} from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { SessionGrantSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import {
  GetChallengeResponseSchema,
  JoinRequestSchema,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Wire } from './wire.ts'

/** 10 minutes: longer than a run. */
const RECORD_TTL_MS = 600_000

/** A session order starts from Unix milliseconds times 2^20 (SessionProof.session_order). */
const ORDER_SHIFT = 20n

export interface MeshPeer {
  readonly key: SigningKey
  readonly wire: Wire
}

/** Opens a session for a new identity and joins `topic` with it: what every peer has to do before it may send. */
export async function openPeer(wire: Wire, origin: string, topic: Uint8Array): Promise<MeshPeer> {
  const { key, join } = await prepareJoin(wire, origin, topic)
  await join()
  return { key, wire }
}

/** The same up to the Join, which follows when `join` is called. */
export async function prepareJoin(
  wire: Wire,
  origin: string,
  topic: Uint8Array,
): Promise<{ key: SigningKey; join: () => Promise<void> }> {
  const key = await generateSigningKey()
  const sessionOrder = BigInt(Date.now()) << ORDER_SHIFT
  const { challenge, serverKey } = fromBinary(
    GetChallengeResponseSchema,
    await wire.call('GetChallenge', new Uint8Array()),
  )
  const clientNonce = systemRandom.bytes(16)
  const proof = await signSessionProof(key, { challenge, serverKey, origin, clientNonce, sessionOrder })
  const request = toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, { proof }))
  const session = fromBinary(OpenSessionResponseSchema, await wire.call('OpenSession', request))
  const { sessionId } = fromBinary(SessionGrantSchema, session.grant!.statement)
  wire.token = session.token
  const record = await signRecord(key, {
    kind: MembershipKind.JOIN,
    topic,
    sessionId,
    seq: nextSeq(0n, Date.now()),
    issuedAtMs: Date.now(),
    ttlMs: RECORD_TTL_MS,
    sessionKey: (await generateSessionKeyPair()).publicKey,
    homeKey: serverKey,
    sessionOrder,
  })
  const joinRequest = toBinary(JoinRequestSchema, create(JoinRequestSchema, { record }))
  const join = async (): Promise<void> => void (await wire.call('Join', joinRequest))
  return { key, join }
}
