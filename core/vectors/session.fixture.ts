import { fromBinary, toBinary, toJson } from '@bufbuild/protobuf'
import { SessionGrantSchema, SessionProofSchema, SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { toHex } from '../bytes.ts'
import { signSessionGrant, signSessionProof } from '../identity/session-proof.ts'
import { seededRandom } from '../random.ts'
import type { Cast } from '../testing/cast.fixture.ts'
import { CAST_NOW_MS } from '../testing/cast.fixture.ts'

/** session.json */
export async function sessionVectors(cast: Cast): Promise<object> {
  const random = seededRandom(2)
  const origin = 'https://mesh.example'
  const clientNonce = random.bytes(16)
  const proof = await signSessionProof(cast.alice.key, {
    challenge: random.bytes(48),
    serverKey: cast.server.publicKey,
    origin,
    clientNonce,
    sessionOrder: BigInt(CAST_NOW_MS) << 20n,
  })
  const grant = await signSessionGrant(cast.server, {
    clientNonce,
    sessionId: cast.alice.sessionId,
    peerKey: cast.alice.key.publicKey,
    origin,
    expiresAtMs: CAST_NOW_MS + 3_600_000,
  })
  return {
    about: 'A session proof and the grant that answers it. `json` is the ProtoJSON form of `statement`.',
    origin,
    serverKey: toHex(cast.server.publicKey),
    peerKey: toHex(cast.alice.key.publicKey),
    proof: {
      name: 'session-client',
      json: toJson(SessionProofSchema, fromBinary(SessionProofSchema, proof.statement)),
      statement: toHex(proof.statement),
      signature: toHex(proof.signature),
      signedStatement: toHex(toBinary(SignedStatementSchema, proof)),
    },
    grant: {
      name: 'session-server',
      json: toJson(SessionGrantSchema, fromBinary(SessionGrantSchema, grant.statement)),
      statement: toHex(grant.statement),
      signature: toHex(grant.signature),
      signedStatement: toHex(toBinary(SignedStatementSchema, grant)),
    },
  }
}
