import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Channel, type NodeProof, NodeProofSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type SignedStatement, SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { beforeAll, describe, expect, it } from 'vitest'
import { assembleCast, type Cast } from '../testing/cast.fixture.ts'
import { expectRefusal, reasonOf, tryBitFlips } from '../testing/refusal.fixture.ts'
import type { NodeProofExpectations, NodeProofFields } from './node-proof.ts'
import { signNodeProof, verifyNodeProof } from './node-proof.ts'
import { signStatement } from './statement.ts'

let cast: Cast
let proof: SignedStatement

/** Alice proves herself to the server of the cast. */
const fields = (): NodeProofFields => ({
  challenge: new Uint8Array(32).fill(7),
  peerServerKey: cast.server.publicKey,
  realm: 'example',
  channel: Channel.DIRECTORY,
  epoch: 77n,
})

const verify = (signed: SignedStatement, change: Partial<NodeProofExpectations> = {}): Promise<void> =>
  verifyNodeProof(signed, { ...fields(), serverKey: cast.alice.key.publicKey, ...change })

beforeAll(async () => {
  cast = await assembleCast()
  proof = await signNodeProof(cast.alice.key, fields())
})

describe('node proof', () => {
  it('is accepted by the server and on the stream it was made for', async () => {
    await verify(proof)
  })

  it.each<[string, () => Partial<NodeProofExpectations>, Parameters<typeof expectRefusal>[1]]>([
    ['another server said Hello', () => ({ serverKey: cast.bob.key.publicKey }), 'SERVER_KEY_MISMATCH'],
    ['it was made for another server', () => ({ peerServerKey: cast.bob.key.publicKey }), 'SERVER_KEY_MISMATCH'],
    ['it is for another realm', () => ({ realm: 'other' }), 'REALM_MISMATCH'],
    ['it answers another challenge', () => ({ challenge: new Uint8Array(32) }), 'CHALLENGE_INVALID'],
    ['it is for the other channel', () => ({ channel: Channel.MESSAGES }), 'CHALLENGE_INVALID'],
    ['its epoch is not that of the Hello', () => ({ epoch: 78n }), 'CHALLENGE_INVALID'],
  ])('is refused when %s', async (_, change, reason) => {
    await expectRefusal(() => verify(proof, change()), reason)
  })

  it('is refused when it is sent back to its signer', async () => {
    const own = { serverKey: cast.server.publicKey, peerServerKey: cast.alice.key.publicKey }
    await expectRefusal(() => verify(proof, own), 'SERVER_KEY_MISMATCH')
  })

  it('is refused when somebody else signed it, or under another name', async () => {
    const forged = await signStatement(cast.mallory.key, 'session-node', proof.statement)
    await expectRefusal(() => verify({ ...proof, signature: forged }), 'SIGNATURE_INVALID')
    const renamed = await signStatement(cast.alice.key, 'session-server', proof.statement)
    await expectRefusal(() => verify({ ...proof, signature: renamed }), 'SIGNATURE_INVALID')
  })

  it('is refused when any bit of it is flipped', async () => {
    const { acceptedBits } = await tryBitFlips(SignedStatementSchema, proof, verify)
    expect(acceptedBits).toEqual([])
  })

  it('is refused as malformed when a field is out of shape', async () => {
    const wrong: Partial<NodeProof>[] = [
      { version: 0 },
      { version: 2 },
      { challenge: new Uint8Array(31) },
      { serverKey: new Uint8Array(33) },
      { peerServerKey: new Uint8Array() },
      { realm: '' },
      { realm: 'é'.repeat(33) },
      { channel: Channel.UNSPECIFIED },
    ]
    for (const change of wrong) {
      const message = create(NodeProofSchema, { ...fromBinary(NodeProofSchema, proof.statement), ...change })
      const statement = toBinary(NodeProofSchema, message)
      const signature = await signStatement(cast.alice.key, 'session-node', statement)
      const signed = create(SignedStatementSchema, { statement, signature })
      expect(await reasonOf(() => verify(signed)), Object.keys(change).join()).toBe('INVALID_ARGUMENT')
    }
  })

  it('is refused when it is too long or no message at all', async () => {
    for (const statement of [new Uint8Array(1_025), Uint8Array.of(0xff), new Uint8Array()]) {
      const signature = await signStatement(cast.alice.key, 'session-node', statement)
      await expectRefusal(() => verify(create(SignedStatementSchema, { statement, signature })), 'INVALID_ARGUMENT')
    }
  })

  it('is not made when a field is out of shape', async () => {
    await expectRefusal(() => signNodeProof(cast.alice.key, { ...fields(), realm: '' }), 'INVALID_ARGUMENT')
  })
})
