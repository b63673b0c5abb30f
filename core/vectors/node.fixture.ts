import { fromBinary, toBinary, toJson } from '@bufbuild/protobuf'
import { Channel, NodeProofSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { toHex } from '../bytes.ts'
import { type NodeProofFields, signNodeProof } from '../identity/node-proof.ts'
import { seededRandom } from '../random.ts'
import type { Cast } from '../testing/cast.fixture.ts'

/** node-proof.json. The servers are Alice, who dials, and Bob. */
export async function nodeProofVectors({ alice, bob }: Cast): Promise<object> {
  const random = seededRandom(3)
  const both = { realm: 'example', channel: Channel.DIRECTORY }
  const dialler = { ...both, challenge: random.bytes(32), peerServerKey: bob.key.publicKey, epoch: 0x1_2345_6789n }
  const dialled = { ...both, challenge: random.bytes(32), peerServerKey: alice.key.publicKey, epoch: 0x9_8765_4321n }
  const vector = async (by: typeof alice, fields: NodeProofFields): Promise<object> => {
    const proof = await signNodeProof(by.key, fields)
    return {
      seed: toHex(by.seed),
      challenge: toHex(fields.challenge),
      json: toJson(NodeProofSchema, fromBinary(NodeProofSchema, proof.statement)),
      statement: toHex(proof.statement),
      signature: toHex(proof.signature),
      signedStatement: toHex(toBinary(SignedStatementSchema, proof)),
    }
  }
  return {
    about: 'The proofs of two servers on one Replicate stream. `challenge` comes from the Hello of the other one.',
    diallerKey: toHex(alice.key.publicKey),
    dialledKey: toHex(bob.key.publicKey),
    proofs: [await vector(alice, dialler), await vector(bob, dialled)],
  }
}
