import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { SessionGrant, SessionProof, SignedStatement } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { SessionGrantSchema, SessionProofSchema, SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, toHex } from '../bytes.ts'
import { assembleCast, CAST_NOW_MS, type Cast } from '../testing/cast.fixture.ts'
import { expectRefusal, reasonOf, tryBitFlips } from '../testing/refusal.fixture.ts'
import type { SessionProofFields } from './session-proof.ts'
import {
  canonicalOrigin,
  signSessionGrant,
  signSessionProof,
  verifySessionGrant,
  verifySessionProof,
} from './session-proof.ts'
import { signStatement } from './statement.ts'

const ORIGIN = 'https://mesh.example'
const challenge = new Uint8Array(48).fill(3)
const clientNonce = new Uint8Array(16).fill(4)
const sessionId = new Uint8Array(16).fill(5)

let cast: Cast
let proof: SignedStatement
let grant: SignedStatement

const proofFields = (): SessionProofFields => ({
  challenge,
  serverKey: cast.server.publicKey,
  origin: ORIGIN,
  clientNonce,
  sessionOrder: 9n,
})

const verifyProof = (signed: SignedStatement): Promise<SessionProof> =>
  verifySessionProof(signed, { serverKey: cast.server.publicKey, origins: (origin) => origin === ORIGIN })

const verifyGrant = (signed: SignedStatement): Promise<SessionGrant> =>
  verifySessionGrant(signed, {
    serverKey: cast.server.publicKey,
    clientNonce,
    peerKey: cast.alice.key.publicKey,
    origin: ORIGIN,
  })

beforeAll(async () => {
  cast = await assembleCast()
  proof = await signSessionProof(cast.alice.key, proofFields())
  const fields = { clientNonce, sessionId, peerKey: cast.alice.key.publicKey, origin: ORIGIN, expiresAtMs: CAST_NOW_MS }
  grant = await signSessionGrant(cast.server, fields)
})

describe('session proof', () => {
  it('is accepted by the server and origin it was made for', async () => {
    const verified = await verifyProof(proof)
    expect(toHex(verified.peerKey)).toBe(toHex(cast.alice.key.publicKey))
    expect(verified.sessionOrder).toBe(9n)
  })

  it('is refused when it is relayed to another server', async () => {
    const attempt = (): unknown =>
      verifySessionProof(proof, { serverKey: cast.mallory.key.publicKey, origins: () => true })
    await expectRefusal(attempt, 'SERVER_KEY_MISMATCH')
  })

  it('is refused when it was made for another origin', async () => {
    const phished = await signSessionProof(cast.alice.key, { ...proofFields(), origin: 'https://phish.example' })
    await expectRefusal(() => verifyProof(phished), 'ORIGIN_MISMATCH')
  })

  it('is refused when the peer key is put in afterwards', async () => {
    const message = fromBinary(SessionProofSchema, proof.statement)
    message.peerKey = cast.mallory.key.publicKey
    const statement = toBinary(SessionProofSchema, message)
    await expectRefusal(() => verifyProof({ ...proof, statement }), 'SIGNATURE_INVALID')
  })

  it('is refused when any bit of it is flipped', async () => {
    const { acceptedBits } = await tryBitFlips(SignedStatementSchema, proof, verifyProof)
    expect(acceptedBits).toEqual([])
  })

  it('is refused as malformed when a field is out of shape', async () => {
    const wrong: Partial<SessionProof>[] = [
      { version: 0 },
      { version: 2 },
      { challenge: new Uint8Array(15) },
      { challenge: new Uint8Array(129) },
      { serverKey: new Uint8Array(31) },
      { origin: '' },
      { origin: `https://${'a'.repeat(505)}` },
      { peerKey: new Uint8Array(33) },
      { clientNonce: new Uint8Array(15) },
      { sessionOrder: 0n },
    ]
    for (const change of wrong) {
      const message = create(SessionProofSchema, { ...fromBinary(SessionProofSchema, proof.statement), ...change })
      const statement = toBinary(SessionProofSchema, message)
      const signature = await signStatement(cast.alice.key, 'session-client', statement)
      const signed = create(SignedStatementSchema, { statement, signature })
      expect(await reasonOf(() => verifyProof(signed)), Object.keys(change).join()).toBe('INVALID_ARGUMENT')
    }
  })

  it('is refused when it is too long or no message at all', async () => {
    for (const statement of [new Uint8Array(1_025), Uint8Array.of(0xff), new Uint8Array()]) {
      const signature = await signStatement(cast.alice.key, 'session-client', statement)
      await expectRefusal(
        () => verifyProof(create(SignedStatementSchema, { statement, signature })),
        'INVALID_ARGUMENT',
      )
    }
  })

  it('is refused when the signature is that of a grant', async () => {
    const signature = await signStatement(cast.alice.key, 'session-server', proof.statement)
    await expectRefusal(() => verifyProof({ ...proof, signature }), 'SIGNATURE_INVALID')
  })

  it('is not made when a field is out of shape', async () => {
    const attempt = (): unknown => signSessionProof(cast.alice.key, { ...proofFields(), challenge: new Uint8Array() })
    await expectRefusal(attempt, 'INVALID_ARGUMENT')
  })
})

describe('session grant', () => {
  it('is accepted by the client whose proof it answers', async () => {
    const verified = await verifyGrant(grant)
    expect(toHex(verified.sessionId)).toBe(toHex(sessionId))
    expect(verified.expiresAtMs).toBe(BigInt(CAST_NOW_MS))
  })

  it.each<
    [
      string,
      Partial<{ serverKey: Uint8Array; clientNonce: Uint8Array; peerKey: Uint8Array; origin: string }>,
      Parameters<typeof expectRefusal>[1],
    ]
  >([
    ['another nonce was sent', { clientNonce: new Uint8Array(16) }, 'CHALLENGE_INVALID'],
    ['another peer asked', { peerKey: new Uint8Array(32).fill(1) }, 'CHALLENGE_INVALID'],
    ['another origin was dialled', { origin: 'https://other.example' }, 'ORIGIN_MISMATCH'],
    ['another server is pinned', { serverKey: new Uint8Array(32).fill(1) }, 'SERVER_KEY_MISMATCH'],
  ])('is refused when %s', async (_, change, reason) => {
    const expectation = {
      serverKey: cast.server.publicKey,
      clientNonce,
      peerKey: cast.alice.key.publicKey,
      origin: ORIGIN,
      ...change,
    }
    await expectRefusal(() => verifySessionGrant(grant, expectation), reason)
  })

  it('is refused when somebody else signed it in the name of the server', async () => {
    const signature = await signStatement(cast.mallory.key, 'session-server', grant.statement)
    await expectRefusal(() => verifyGrant({ ...grant, signature }), 'SIGNATURE_INVALID')
  })

  it('is refused when the expiry is extended', async () => {
    const message = fromBinary(SessionGrantSchema, grant.statement)
    message.expiresAtMs += 1n
    const statement = toBinary(SessionGrantSchema, message)
    await expectRefusal(() => verifyGrant({ ...grant, statement }), 'SIGNATURE_INVALID')
    const trailing = concatBytes(grant.statement, Uint8Array.of(0x38, 0x01))
    await expectRefusal(() => verifyGrant({ ...grant, statement: trailing }), 'SIGNATURE_INVALID')
  })
})

describe('canonicalOrigin', () => {
  it.each([
    ['https://Mesh.Example:443/path?x', 'https://mesh.example'],
    ['http://127.0.0.1:4600', 'http://127.0.0.1:4600'],
    ['http://[::1]:80/', 'http://[::1]'],
    ['https://mesh.example:8443', 'https://mesh.example:8443'],
  ])('of %s is %s', (url, origin) => {
    expect(canonicalOrigin(url)).toBe(origin)
  })

  it.each(['', 'mesh.example', 'ftp://mesh.example', 'file:///etc', 'null'])('does not exist for %j', async (url) => {
    await expectRefusal(() => canonicalOrigin(url), 'ADDRESS_INVALID')
  })
})
