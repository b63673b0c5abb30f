import { create, toBinary } from '@bufbuild/protobuf'
import { Channel, type NodeProof, NodeProofSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type SignedStatement, SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { equalBytes, utf8Encode } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { Ed25519Verify, SigningKey } from './ed25519.ts'
import { signStatement, verifyStatement } from './statement.ts'
import { boundedStatement, parseStatement, shapeCheck } from './statement-shape.ts'

/**
 * How two servers prove themselves to each other on a Replicate stream:
 *
 *  1. Each says in its Hello who it is, and sends a fresh challenge.
 *  2. The dialler signs a NodeProof: the other's challenge, both keys, realm, channel, its epoch.
 *  3. The one that was dialled verifies it, and only then signs its own: it is no oracle for strangers.
 *
 * A proof is worth nothing elsewhere: another server is not its addressee, another stream has another challenge, and sent
 * back to its signer it names the wrong signer.
 */

const WHAT = 'node proof'
const CHALLENGE_BYTES = 32
const MAX_REALM_BYTES = 64

const requireShape = shapeCheck(WHAT)

export interface NodeProofFields {
  /** 32 bytes, from the Hello of the other server. */
  challenge: Uint8Array
  /** Who it is made for, 32 bytes. */
  peerServerKey: Uint8Array
  /** 1 to 64 bytes of UTF-8. */
  realm: string
  channel: Channel
  /** The signer's, as in its Hello. */
  epoch: bigint
}

/** What a proof must say, and who must have signed it. */
export interface NodeProofExpectations extends NodeProofFields {
  serverKey: Uint8Array
  verify?: Ed25519Verify | undefined
}

/** Steps 2 and 3: the proof, signed. The server key is the signer's. */
export async function signNodeProof(key: SigningKey, fields: NodeProofFields): Promise<SignedStatement> {
  const proof = create(NodeProofSchema, { ...fields, version: 1, serverKey: key.publicKey })
  checkShape(proof)
  const statement = toBinary(NodeProofSchema, proof)
  return create(SignedStatementSchema, { statement, signature: await signStatement(key, 'session-node', statement) })
}

/**
 * Checks a proof against the Hellos of both sides.
 * @throws MeshError INVALID_ARGUMENT (shape), SERVER_KEY_MISMATCH (another signer or addressee), KEY_INVALID,
 * SIGNATURE_INVALID, REALM_MISMATCH, CHALLENGE_INVALID (made for another stream: challenge, channel or epoch)
 */
export async function verifyNodeProof(signed: SignedStatement, expect: NodeProofExpectations): Promise<void> {
  const statement = boundedStatement(signed, WHAT)
  const proof = parseStatement(NodeProofSchema, statement, WHAT)
  checkShape(proof)
  if (!equalBytes(proof.serverKey, expect.serverKey)) {
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, 'The node proof is by another server than the Hello')
  }
  await verifyStatement(expect.serverKey, 'session-node', statement, signed.signature, expect.verify)
  if (!equalBytes(proof.peerServerKey, expect.peerServerKey)) {
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, 'The node proof was made for another server')
  }
  if (proof.realm !== expect.realm) {
    throw new MeshError(ErrorReason.REALM_MISMATCH, 'The node proof was made for another realm')
  }
  const ofThisStream =
    equalBytes(proof.challenge, expect.challenge) && proof.channel === expect.channel && proof.epoch === expect.epoch
  if (!ofThisStream) throw new MeshError(ErrorReason.CHALLENGE_INVALID, 'The node proof was made for another stream')
}

function checkShape(proof: NodeProof): void {
  requireShape(proof.version === 1, 'version', proof.version)
  requireShape(proof.challenge.length === CHALLENGE_BYTES, 'challenge')
  requireShape(proof.serverKey.length === 32, 'server_key')
  requireShape(proof.peerServerKey.length === 32, 'peer_server_key')
  const realmBytes = utf8Encode(proof.realm).length
  requireShape(realmBytes >= 1 && realmBytes <= MAX_REALM_BYTES, 'realm')
  requireShape(proof.channel === Channel.DIRECTORY || proof.channel === Channel.MESSAGES, 'channel', proof.channel)
}
