import { readdirSync, readFileSync } from 'node:fs'
import { create, fromBinary, fromJson, toBinary } from '@bufbuild/protobuf'
import { NodeProofSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { FrameSchema, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { PacketSchema, PeerPayloadSchema, SealedSignalSchema, SignalSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { describe, expect, it } from 'vitest'
import { compareBytes, fromHex, toHex } from '../bytes.ts'
import { signingKeyFromSeed, verifyStrict } from '../identity/ed25519.ts'
import { verifyNodeProof } from '../identity/node-proof.ts'
import { formatPeerId, parsePeerId } from '../identity/peer-id.ts'
import { verifySessionGrant, verifySessionProof } from '../identity/session-proof.ts'
import type { StatementName } from '../identity/statement.ts'
import { signStatement, verifyStatement } from '../identity/statement.ts'
import { deriveLinkKeys, verifyAttachEvidence } from '../link/link-keys.ts'
import { createPacketOpener } from '../link/packet.ts'
import { verifyRecord } from '../membership/record.ts'
import { discoveryKey, identityTopic, partyFromName, partyFromPublicKey } from '../membership/topic.ts'
import { HPKE_SUITE } from '../seal/hpke.ts'
import { openSignal } from '../seal/seal.ts'
import { reasonOf } from '../testing/refusal.fixture.ts'
import { allVectors } from './all.fixture.ts'

const folder = new URL('../../docs/vectors/', import.meta.url)

/** What the published files hold. Read here as a client in another language would: from the files alone. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes, each checked by what is done with it.
const read = (name: string): any => JSON.parse(readFileSync(new URL(name, folder), 'utf8'))

describe('docs/vectors', () => {
  it('is what the code generates now, file by file and byte by byte', async () => {
    const generated = await allVectors()
    expect(readdirSync(folder).sort()).toEqual([...generated.keys()].sort())
    for (const [name, text] of generated) {
      const hint = `${name} is stale: run node -C source core/vectors/generate.fixture.ts`
      expect(readFileSync(new URL(name, folder), 'utf8') === text, hint).toBe(true)
    }
  })

  it('discovery-keys.json holds for keys and names', async () => {
    const { keys, names } = read('discovery-keys.json')
    for (const { publicKey, ...expected } of keys) {
      const key = fromHex(publicKey)
      const party = partyFromPublicKey(key)
      expect(toHex(discoveryKey(key))).toBe(expected.discoveryKey)
      expect(toHex(identityTopic(key))).toBe(expected.identityTopic)
      expect(toHex(party.psk as Uint8Array)).toBe(expected.partyPsk)
    }
    for (const { name, topic } of names) expect(toHex((await partyFromName(name)).topic)).toBe(topic)
  })

  it('peer-ids.json parses where valid, and says what is wrong where not', () => {
    const { valid, invalid } = read('peer-ids.json')
    for (const { publicKey, peerId } of valid) {
      expect(toHex(parsePeerId(peerId))).toBe(publicKey)
      expect(formatPeerId(fromHex(publicKey))).toBe(peerId)
    }
    const words: Record<string, string> = {
      prefix: 'starts with',
      length: 'characters; this has',
      character: 'does not occur',
      checksum: 'checksum',
      key: 'no peer can have',
    }
    for (const { text, fault, position } of invalid) {
      const complaint = expect(() => parsePeerId(text))
      complaint.toThrow(words[fault])
      if (position !== undefined) expect(() => parsePeerId(text)).toThrow(new RegExp(`character ${position}\\b`, 'i'))
    }
  })

  it('ed25519-strict.json is decided as it says', async () => {
    for (const { message, publicKey, signature, valid } of read('ed25519-strict.json').vectors) {
      expect(await verifyStrict(fromHex(publicKey), fromHex(message), fromHex(signature))).toBe(valid)
    }
  })

  it('signed-statements.json verifies, and signs to the same bytes', async () => {
    const { seed, publicKey, statement, statements } = read('signed-statements.json')
    const key = await signingKeyFromSeed(fromHex(seed))
    expect(toHex(key.publicKey)).toBe(publicKey)
    for (const { name, signature } of statements as { name: StatementName; signature: string }[]) {
      await verifyStatement(fromHex(publicKey), name, fromHex(statement), fromHex(signature))
      expect(toHex(await signStatement(key, name, fromHex(statement)))).toBe(signature)
    }
  })

  it('session.json verifies on both sides', async () => {
    const { origin, serverKey, peerKey, proof, grant } = read('session.json')
    const server = fromHex(serverKey)
    const signedProof = fromBinary(SignedStatementSchema, fromHex(proof.signedStatement))
    const verified = await verifySessionProof(signedProof, { serverKey: server, origins: (o) => o === origin })
    expect(toHex(verified.peerKey)).toBe(peerKey)
    await verifySessionGrant(fromBinary(SignedStatementSchema, fromHex(grant.signedStatement)), {
      serverKey: server,
      clientNonce: verified.clientNonce,
      peerKey: fromHex(peerKey),
      origin,
    })
  })

  it('node-proof.json verifies on both sides', async () => {
    const { diallerKey, dialledKey, proofs } = read('node-proof.json')
    for (const [index, { signedStatement, challenge, json }] of proofs.entries()) {
      const [serverKey, peerServerKey] = index === 0 ? [diallerKey, dialledKey] : [dialledKey, diallerKey]
      const { realm, channel, epoch } = fromJson(NodeProofSchema, json)
      await verifyNodeProof(fromBinary(SignedStatementSchema, fromHex(signedStatement)), {
        serverKey: fromHex(serverKey),
        peerServerKey: fromHex(peerServerKey),
        challenge: fromHex(challenge),
        realm,
        channel,
        epoch,
      })
    }
  })

  it('records.json is accepted and refused as it says', async () => {
    const { nowMs, peerKey, accepted, refused } = read('records.json')
    const expectation = { nowMs: Number(nowMs), peerKey: fromHex(peerKey) }
    for (const { signedRecord } of accepted) {
      await verifyRecord(fromBinary(SignedRecordSchema, fromHex(signedRecord)), expectation)
    }
    for (const { what, reason, record, signature } of refused) {
      const signed = create(SignedRecordSchema, { record: fromHex(record), signature: fromHex(signature) })
      expect(await reasonOf(() => verifyRecord(signed, { nowMs: Number(nowMs) })), what).toBe(reason)
    }
  })

  it('sealing.json opens with nothing but what it gives', async () => {
    for (const vector of read('sealing.json').seals) {
      const privateKey = await HPKE_SUITE.DeserializePrivateKey(fromHex(vector.recipientPrivateKey))
      const publicKey = fromHex(vector.recipientSessionKey)
      const pair = { privateKey, publicKey: await HPKE_SUITE.DeserializePublicKey(publicKey) }
      const expected = fromJson(SignalSchema, vector.json)
      const { signal, exported } = await openSignal({
        sealed: fromBinary(SealedSignalSchema, fromHex(vector.sealedSignal)),
        sessionKey: { publicKey, pair },
        self: { peerKey: expected.to, sessionId: expected.toSession },
        topic: expected.topic,
        psk: vector.psk === '' ? undefined : fromHex(vector.psk),
        expectFrom: expected.from,
      })
      expect(toHex(toBinary(SignalSchema, signal))).toBe(vector.signal)
      expect(toHex(exported)).toBe(vector.exported)
    }
  })

  it('link-keys.json follows from sealing.json, and its evidence verifies', async () => {
    const { inputs, transcriptHash, attachEvidence } = read('link-keys.json')
    const [hello, helloReply] = read('sealing.json').seals
    expect([inputs.exportHello, inputs.exportHelloReply]).toEqual([hello.exported, helloReply.exported])
    const bytes = Object.fromEntries(Object.entries(inputs).map(([name, hex]) => [name, fromHex(hex as string)]))
    const agreement = bytes as unknown as Parameters<typeof deriveLinkKeys>[0] & { psk: Uint8Array }
    expect(compareBytes(agreement.lowerKey, agreement.higherKey)).toBe(-1)
    const keys = await deriveLinkKeys({ ...agreement, role: 'higher' })
    expect(toHex(keys.transcriptHash)).toBe(transcriptHash)
    for (const [evidence, peerKey] of [
      [attachEvidence.lower, agreement.lowerKey],
      [attachEvidence.higher, agreement.higherKey],
    ]) {
      expect(await verifyAttachEvidence(agreement.psk, peerKey, fromHex(transcriptHash), fromHex(evidence))).toBe(true)
    }
  })

  it('packets.json opens under the key of link-keys.json, and its frames encode as they say', async () => {
    const { key, packets, payload, frames } = read('packets.json')
    expect(key).toBe(read('link-keys.json').lowerToHigher)
    const opener = await createPacketOpener(fromHex(key))
    for (const { json, plaintext, packet } of packets) {
      expect(toHex(await opener.open(fromBinary(PacketSchema, fromHex(packet))))).toBe(plaintext)
      expect(toHex(toBinary(PacketBodySchema, fromJson(PacketBodySchema, json)))).toBe(plaintext)
    }
    for (const { json, frame } of frames) {
      expect(toHex(toBinary(FrameSchema, fromJson(FrameSchema, json)))).toBe(frame)
    }
    const kinds = new Set(frames.map(({ json }: { json: object }) => Object.keys(json).find((name) => name !== 'seq')))
    expect(kinds.size).toBe(FrameSchema.fields.length - 1)
    expect(fromBinary(PeerPayloadSchema, fromHex(payload)).payload.case).toBe('packets')
  })
})
