import { create, toBinary } from '@bufbuild/protobuf'
import type { SessionGrant, SessionProof, SignedStatement } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { SessionGrantSchema, SessionProofSchema, SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { equalBytes } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { Ed25519Verify, SigningKey } from './ed25519.ts'
import { signStatement, verifyStatement } from './statement.ts'
import { boundedStatement, parseStatement, shapeCheck } from './statement-shape.ts'

/**
 * How a session opens:
 *
 *  1. The client gets a challenge and the server's key.
 *  2. It signs a SessionProof: challenge, server key, the origin it dialled, its own key, a nonce, its session order.
 *  3. The server verifies it, opens the session and signs a SessionGrant with the same nonce.
 *  4. The client verifies the grant: now both know who the other is, and that nobody sits in between, because the
 *     origin and the server's key are inside both signatures.
 */

/** How refusals name the proof and the grant. */
const WHAT = 'session statement'

const MAX_ORIGIN_CHARACTERS = 512
const MIN_CHALLENGE_BYTES = 16
const MAX_CHALLENGE_BYTES = 128

const requireShape = shapeCheck(WHAT)

export interface SessionProofFields {
  /** As received from GetChallenge, 16 to 128 bytes. */
  challenge: Uint8Array
  /** 32 bytes. */
  serverKey: Uint8Array
  /** The origin dialled, as `canonicalOrigin` writes it. */
  origin: string
  /** 16 random bytes. */
  clientNonce: Uint8Array
  /** At least 1; see SessionProof.session_order. */
  sessionOrder: bigint
}

export interface SessionGrantFields {
  /** 16 bytes, from the proof. */
  clientNonce: Uint8Array
  /** 16 bytes. */
  sessionId: Uint8Array
  /** 32 bytes. */
  peerKey: Uint8Array
  origin: string
  /** Unix milliseconds when the token expires. */
  expiresAtMs: number
}

/**
 * The origin of a URL as proofs carry it: scheme, host and port, lower case, without the scheme's default port.
 * @throws MeshError ADDRESS_INVALID for what is no http or https URL
 */
export function canonicalOrigin(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) {
    throw new MeshError(ErrorReason.ADDRESS_INVALID, `"${url}" is not an http or https URL`)
  }
  return parsed.origin
}

/** Step 2: the proof, signed. The peer key is the signer's. */
export async function signSessionProof(key: SigningKey, fields: SessionProofFields): Promise<SignedStatement> {
  const proof = create(SessionProofSchema, { ...fields, version: 1, peerKey: key.publicKey })
  checkProofShape(proof)
  const statement = toBinary(SessionProofSchema, proof)
  return create(SignedStatementSchema, { statement, signature: await signStatement(key, 'session-client', statement) })
}

/**
 * Step 3: checks a proof, up to the challenge, which only its issuer can judge.
 * @throws MeshError INVALID_ARGUMENT (shape), KEY_INVALID, SIGNATURE_INVALID, SERVER_KEY_MISMATCH, ORIGIN_MISMATCH
 */
export async function verifySessionProof(
  signed: SignedStatement,
  expect: { serverKey: Uint8Array; origins: (origin: string) => boolean; verify?: Ed25519Verify },
): Promise<SessionProof> {
  const statement = boundedStatement(signed, WHAT)
  const proof = parseStatement(SessionProofSchema, statement, WHAT)
  checkProofShape(proof)
  await verifyStatement(proof.peerKey, 'session-client', statement, signed.signature, expect.verify)
  if (!equalBytes(proof.serverKey, expect.serverKey)) {
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, 'The proof was made for another server')
  }
  if (!expect.origins(proof.origin)) {
    throw new MeshError(ErrorReason.ORIGIN_MISMATCH, `The proof was made for another origin: ${proof.origin}`)
  }
  return proof
}

/** Step 3: the server's answer, signed. The server key is the signer's. */
export async function signSessionGrant(key: SigningKey, fields: SessionGrantFields): Promise<SignedStatement> {
  const grant = create(SessionGrantSchema, {
    ...fields,
    version: 1,
    serverKey: key.publicKey,
    expiresAtMs: BigInt(fields.expiresAtMs),
  })
  checkGrantShape(grant)
  const statement = toBinary(SessionGrantSchema, grant)
  return create(SignedStatementSchema, { statement, signature: await signStatement(key, 'session-server', statement) })
}

/**
 * Step 4: checks that the grant comes from the expected server and answers this client's own proof.
 * @throws MeshError INVALID_ARGUMENT (shape), SERVER_KEY_MISMATCH, KEY_INVALID, SIGNATURE_INVALID, CHALLENGE_INVALID
 * (the grant answers another proof), ORIGIN_MISMATCH
 */
export async function verifySessionGrant(
  signed: SignedStatement,
  expect: { serverKey: Uint8Array; clientNonce: Uint8Array; peerKey: Uint8Array; origin: string },
): Promise<SessionGrant> {
  const statement = boundedStatement(signed, WHAT)
  const grant = parseStatement(SessionGrantSchema, statement, WHAT)
  checkGrantShape(grant)
  if (!equalBytes(grant.serverKey, expect.serverKey)) {
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, 'The session was granted by another server')
  }
  await verifyStatement(expect.serverKey, 'session-server', statement, signed.signature)
  if (!equalBytes(grant.clientNonce, expect.clientNonce) || !equalBytes(grant.peerKey, expect.peerKey)) {
    throw new MeshError(ErrorReason.CHALLENGE_INVALID, 'The grant answers another proof')
  }
  if (grant.origin !== expect.origin) {
    throw new MeshError(ErrorReason.ORIGIN_MISMATCH, `The grant is for another origin: ${grant.origin}`)
  }
  return grant
}

function checkProofShape(proof: SessionProof): void {
  requireShape(proof.version === 1, 'version', proof.version)
  const challengeBytes = proof.challenge.length
  requireShape(challengeBytes >= MIN_CHALLENGE_BYTES && challengeBytes <= MAX_CHALLENGE_BYTES, 'challenge')
  requireShape(proof.serverKey.length === 32, 'server_key')
  requireShape(proof.peerKey.length === 32, 'peer_key')
  requireShape(proof.clientNonce.length === 16, 'client_nonce')
  requireShape(proof.sessionOrder >= 1n, 'session_order')
  requireOrigin(proof.origin)
}

function checkGrantShape(grant: SessionGrant): void {
  requireShape(grant.version === 1, 'version', grant.version)
  requireShape(grant.clientNonce.length === 16, 'client_nonce')
  requireShape(grant.sessionId.length === 16, 'session_id')
  requireShape(grant.peerKey.length === 32, 'peer_key')
  requireShape(grant.serverKey.length === 32, 'server_key')
  requireShape(grant.expiresAtMs >= 1n, 'expires_at_ms')
  requireOrigin(grant.origin)
}

function requireOrigin(origin: string): void {
  requireShape(origin.length > 0 && origin.length <= MAX_ORIGIN_CHARACTERS, 'origin')
}
