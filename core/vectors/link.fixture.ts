import type { MessageInitShape } from '@bufbuild/protobuf'
import { create, fromBinary, toBinary, toJson } from '@bufbuild/protobuf'
import { ChannelKind, FrameSchema, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { SealedSignal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import {
  PacketSchema,
  PeerPayloadSchema,
  SealedSignalSchema,
  SignalSchema,
  SignedSignalSchema,
} from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { concatBytes, fromHex, toHex, utf8Encode } from '../bytes.ts'
import type { LinkAgreement } from '../link/link-keys.ts'
import { attachEvidence, deriveLinkSecrets } from '../link/link-keys.ts'
import { createPacketSealer } from '../link/packet.ts'
import { seededRandom } from '../random.ts'
import type { HpkeKeyPair } from '../seal/hpke.ts'
import { HPKE_SUITE, hpkeOpen } from '../seal/hpke.ts'
import { unpad } from '../seal/padding.ts'
import type { SignalInit } from '../seal/seal.ts'
import { openSignal, sealSignalWith } from '../seal/seal.ts'
import type { Actor, Cast } from '../testing/cast.fixture.ts'
import { suiteWithEphemeral } from '../testing/fixed-ephemeral.fixture.ts'
import { castRecord } from './record.fixture.ts'

/** One story for sealing.json, link-keys.json and packets.json: Alice opens a link to Bob, and packets follow. */
export interface LinkStory {
  readonly sealing: object
  readonly linkKeys: object
  readonly packets: object
}

export async function linkVectors(cast: Cast): Promise<LinkStory> {
  const random = seededRandom(3)
  const connectionId = random.bytes(16)
  const { alice, bob } = cast
  const helloBody: NonNullable<SignalInit['body']> = { case: 'hello', value: { record: await castRecord(cast, alice) } }
  const replyBody: NonNullable<SignalInit['body']> = {
    case: 'helloReply',
    value: { record: await castRecord(cast, bob) },
  }
  const seal = (from: Actor, to: Actor, body: NonNullable<SignalInit['body']>, psk: Uint8Array | undefined) =>
    sealedVector({ cast, from, to, body, psk, connectionId, ephemeralSeed: random.bytes(32) })
  const hello = await seal(alice, bob, helloBody, cast.party.psk)
  const helloReply = await seal(bob, alice, replyBody, cast.party.psk)
  const knock = await seal(bob, alice, { case: 'knock', value: {} }, undefined)
  const agreement: LinkAgreement = {
    exportHello: hello.exported,
    exportHelloReply: helloReply.exported,
    connectionId,
    topic: cast.party.topic,
    lowerKey: alice.key.publicKey,
    higherKey: bob.key.publicKey,
    lowerSessionId: alice.sessionId,
    higherSessionId: bob.sessionId,
    psk: cast.party.psk,
  }
  const secrets = await deriveLinkSecrets(agreement)
  return {
    sealing: {
      about:
        'Sealed signals with a fixed ephemeral key. Open each with recipientPrivateKey; or seal `plaintext` with ' +
        'ephemeralPrivateKey and compare. `json` is the ProtoJSON form of `signal`.',
      seals: [hello.vector, helloReply.vector, knock.vector],
    },
    linkKeys: await linkKeyVector(cast, agreement, secrets),
    packets: await packetVectors(cast, connectionId, secrets),
  }
}

async function sealedVector(options: {
  cast: Cast
  from: Actor
  to: Actor
  body: NonNullable<SignalInit['body']>
  psk: Uint8Array | undefined
  connectionId: Uint8Array
  ephemeralSeed: Uint8Array
}): Promise<{ vector: object; exported: Uint8Array }> {
  const { cast, from, to, psk, connectionId } = options
  const { topic } = cast.party
  const signal: SignalInit = {
    to: to.key.publicKey,
    topic,
    fromSession: from.sessionId,
    toSession: to.sessionId,
    connectionId,
    seq: 1n,
    body: options.body,
  }
  const suite = await suiteWithEphemeral(options.ephemeralSeed)
  const recipientSessionKey = to.sessionKey.publicKey
  const { sealed, exported } = await sealSignalWith(suite, { signal, key: from.key, recipientSessionKey, psk })
  const info = concatBytes(utf8Encode('mesh/1 seal'), topic, to.key.publicKey, to.sessionId)
  const plaintext = await plaintextOf(sealed, to, info, psk)
  const signed = fromBinary(SignedSignalSchema, unpad(plaintext))
  const self = { peerKey: to.key.publicKey, sessionId: to.sessionId }
  const opened = await openSignal({ sealed, sessionKey: to.sessionKey, self, topic, psk })
  const vector = {
    what: `${opened.signal.body.case}, ${psk === undefined ? 'Base mode' : 'PSK mode'}`,
    json: toJson(SignalSchema, opened.signal),
    senderSeed: toHex(from.seed),
    recipientPrivateKey: toHex(await privateKeyOf(to.sessionKey.pair as HpkeKeyPair)),
    recipientSessionKey: toHex(recipientSessionKey),
    ephemeralPrivateKey: toHex(await privateKeyOf(await HPKE_SUITE.DeriveKeyPair(options.ephemeralSeed, true))),
    psk: psk === undefined ? '' : toHex(psk),
    pskId: psk === undefined ? '' : toHex(utf8Encode('mesh/1 party-psk')),
    info: toHex(info),
    signal: toHex(signed.signal),
    signature: toHex(signed.signature),
    plaintext: toHex(plaintext),
    enc: toHex(sealed.enc),
    ciphertext: toHex(sealed.ciphertext),
    keyId: toHex(sealed.keyId),
    exported: toHex(exported),
    sealedSignal: toHex(toBinary(SealedSignalSchema, sealed)),
  }
  return { vector, exported }
}

async function plaintextOf(
  sealed: SealedSignal,
  to: Actor,
  info: Uint8Array,
  psk: Uint8Array | undefined,
): Promise<Uint8Array> {
  const { plaintext } = await hpkeOpen({
    info,
    psk: psk === undefined ? undefined : { secret: psk, id: utf8Encode('mesh/1 party-psk') },
    exporterContext: utf8Encode('mesh/1 link'),
    pair: to.sessionKey.pair as HpkeKeyPair,
    enc: sealed.enc,
    ciphertext: sealed.ciphertext,
  })
  return plaintext
}

function privateKeyOf(pair: HpkeKeyPair): Promise<Uint8Array> {
  return HPKE_SUITE.SerializePrivateKey(pair.privateKey)
}

async function linkKeyVector(cast: Cast, agreement: LinkAgreement, secrets: Uint8Array): Promise<object> {
  const { psk, ...inputs } = agreement
  const transcriptHash = secrets.slice(32)
  return {
    about: 'Link keys from the exporter secrets of the Hello and the HelloReply of sealing.json.',
    inputs: Object.fromEntries(
      Object.entries({ ...inputs, psk }).map(([name, value]) => [name, toHex(value as Uint8Array)]),
    ),
    lowerToHigher: toHex(secrets.subarray(0, 16)),
    higherToLower: toHex(secrets.subarray(16, 32)),
    transcriptHash: toHex(transcriptHash),
    withoutPsk: toHex(await deriveLinkSecrets(inputs)),
    attachEvidence: {
      lower: toHex(await attachEvidence(cast.party.psk, agreement.lowerKey, transcriptHash)),
      higher: toHex(await attachEvidence(cast.party.psk, agreement.higherKey, transcriptHash)),
    },
  }
}

async function packetVectors(cast: Cast, connectionId: Uint8Array, secrets: Uint8Array): Promise<object> {
  const key = secrets.slice(0, 16)
  const sealer = await createPacketSealer(key)
  const evidence = await attachEvidence(cast.party.psk, cast.alice.key.publicKey, secrets.slice(32))
  const bodies = await exampleBodies(cast, evidence)
  const packets = []
  for (const init of bodies) {
    const body = create(PacketBodySchema, init)
    const plaintext = toBinary(PacketBodySchema, body)
    const packet = await sealer.seal(plaintext)
    packets.push({
      number: packet.number.toString(),
      nonce: `00000000${packet.number.toString(16).padStart(16, '0')}`,
      json: toJson(PacketBodySchema, body),
      plaintext: toHex(plaintext),
      sealed: toHex(packet.sealed),
      packet: toHex(toBinary(PacketSchema, packet)),
    })
  }
  const relayed = packets.slice(0, 2).map(({ packet }) => fromBinary(PacketSchema, fromHex(packet)))
  const payload = create(PeerPayloadSchema, { payload: { case: 'packets', value: { connectionId, packets: relayed } } })
  return {
    about:
      'Packets from the lower to the higher peer. `json` is the ProtoJSON form of `plaintext`, a PacketBody. ' +
      '`payload` is the Envelope.payload that carries the first two through a server.',
    key: toHex(key),
    packets,
    payload: toHex(toBinary(PeerPayloadSchema, payload)),
    frames: bodies
      .flatMap((body) => body.frames ?? [])
      .map((frame) => create(FrameSchema, frame))
      .map((frame) => ({ json: toJson(FrameSchema, frame), frame: toHex(toBinary(FrameSchema, frame)) })),
  }
}

/** Every kind of frame, in an order in which a link could send them; a datagram may come at any time, even after a goodbye. */
async function exampleBodies(cast: Cast, evidence: Uint8Array): Promise<MessageInitShape<typeof PacketBodySchema>[]> {
  const { topic } = cast.party
  const record = await castRecord(cast, cast.alice)
  const open = { channel: 2, topic, name: '', kind: ChannelKind.MESSAGES, credit: 262_144n }
  const candidate = {
    candidate: 'candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host',
    sdpMid: '0',
    sdpMLineIndex: 0,
    usernameFragment: 'abcd',
  }
  return [
    { frames: [{ seq: 1n, body: { case: 'attach', value: { topic, evidence, record } } }] },
    {
      ack: 1n,
      frames: [
        { seq: 2n, body: { case: 'open', value: open } },
        { seq: 3n, body: { case: 'data', value: { channel: 2, data: utf8Encode('hi'), endOfMessage: true } } },
      ],
    },
    {
      ack: 1n,
      ranges: [{ first: 3n, last: 4n }],
      frames: [
        { seq: 4n, body: { case: 'credit', value: { channel: 2, credit: 524_288n } } },
        { seq: 5n, body: { case: 'rtc', value: { attempt: 1, signal: { case: 'offer', value: 'v=0\r\n' } } } },
        { seq: 6n, body: { case: 'rtc', value: { attempt: 1, signal: { case: 'candidate', value: candidate } } } },
        { body: { case: 'ping', value: { id: 7n } } },
      ],
    },
    {
      ack: 4n,
      frames: [
        { body: { case: 'pong', value: { id: 8n } } },
        { seq: 7n, body: { case: 'end', value: { channel: 2 } } },
        { seq: 8n, body: { case: 'reset', value: { channel: 4, error: { reason: 112 }, message: 'gone' } } },
        { seq: 9n, body: { case: 'detach', value: { topic } } },
        { body: { case: 'goodbye', value: {} } },
      ],
    },
    { ack: 4n, frames: [{ body: { case: 'datagram', value: { channel: 6, data: utf8Encode('now or never') } } }] },
  ]
}
