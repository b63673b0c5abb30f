import type { MessageInitShape } from '@bufbuild/protobuf'
import { create, toBinary } from '@bufbuild/protobuf'
import type { SealedSignal, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { SealedSignalSchema, SealMode, SignalSchema, SignedSignalSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, fromHex, toHex, utf8Encode } from '../bytes.ts'
import type { ErrorReason } from '../error.ts'
import { statementBytes } from '../identity/statement.ts'
import type { Actor, Cast } from '../testing/cast.fixture.ts'
import { assembleCast } from '../testing/cast.fixture.ts'
import { expectRefusal, tryBitFlips } from '../testing/refusal.fixture.ts'
import { hpkeSeal } from './hpke.ts'
import { pad } from './padding.ts'
import { ReplayWindow } from './replay-window.ts'
import type { OpenOptions, SignalInit } from './seal.ts'
import { generateSessionKeyPair, openSignal, SIGNAL_REPLAY_WINDOW, sealSignal, sessionKeyId } from './seal.ts'

let cast: Cast
const connectionId = new Uint8Array(16).fill(9)

beforeAll(async () => {
  cast = await assembleCast()
})

/** Alice to Bob. */
function knock(change: Partial<SignalInit> = {}): SignalInit {
  return {
    to: cast.bob.key.publicKey,
    topic: cast.party.topic,
    fromSession: cast.alice.sessionId,
    toSession: cast.bob.sessionId,
    connectionId,
    seq: 1n,
    body: { case: 'knock', value: {} },
    ...change,
  }
}

async function seal(change: Partial<SignalInit> = {}): Promise<SealedSignal> {
  return (await sealWithExport(change)).sealed
}

function sealWithExport(change: Partial<SignalInit> = {}): ReturnType<typeof sealSignal> {
  return sealSignal({
    signal: knock(change),
    key: cast.alice.key,
    recipientSessionKey: cast.bob.sessionKey.publicKey,
    psk: cast.party.psk,
  })
}

function open(sealed: SealedSignal, change: Partial<OpenOptions> = {}): ReturnType<typeof openSignal> {
  return openSignal({
    sealed,
    sessionKey: cast.bob.sessionKey,
    self: { peerKey: cast.bob.key.publicKey, sessionId: cast.bob.sessionId },
    topic: cast.party.topic,
    psk: cast.party.psk,
    expectFrom: cast.alice.key.publicKey,
    ...change,
  })
}

interface Forgery {
  /** The signal as it is signed and sealed, whatever is wrong with it. */
  signal?: MessageInitShape<typeof SignalSchema>
  signer?: Actor
  /** Session key that the signature covers; default: that of the recipient. */
  signedFor?: Uint8Array
  /** What is sealed; default: the signed signal, padded. */
  plaintext?: Uint8Array
  label?: 'signal' | 'membership'
}

/** Seals to Bob's session what `sealSignal` would refuse to make. Mallory knows the party, so the psk is right. */
async function forge(forgery: Forgery): Promise<SealedSignal> {
  const { signer = cast.alice, signedFor = cast.bob.sessionKey.publicKey } = forgery
  const message = create(SignalSchema, { ...knock(), from: cast.alice.key.publicKey, version: 1, ...forgery.signal })
  const signal = toBinary(SignalSchema, message)
  const label = forgery.label ?? 'signal'
  const signature = await signer.key.sign(statementBytes(label, concatBytes(signal, signedFor)))
  const content = toBinary(SignedSignalSchema, create(SignedSignalSchema, { signal, signature }))
  const { enc, ciphertext } = await hpkeSeal({
    info: concatBytes(utf8Encode('mesh/1 seal'), cast.party.topic, cast.bob.key.publicKey, cast.bob.sessionId),
    psk: { secret: cast.party.psk, id: utf8Encode('mesh/1 party-psk') },
    exporterContext: utf8Encode('mesh/1 link'),
    recipientKey: cast.bob.sessionKey.publicKey,
    plaintext: forgery.plaintext ?? pad(content),
  })
  const keyId = await sessionKeyId(cast.bob.sessionKey.publicKey)
  return create(SealedSignalSchema, { kem: 0x20, kdf: 1, aead: 1, mode: SealMode.PSK, keyId, enc, ciphertext })
}

describe('a sealed signal', () => {
  it('opens for its recipient, with the same exported secret at both ends', async () => {
    const { sealed, exported } = await sealWithExport()
    const opened = await open(sealed)
    expect(opened.signal.body.case).toBe('knock')
    expect(toHex(opened.signal.from)).toBe(toHex(cast.alice.key.publicKey))
    expect(toHex(opened.exported)).toBe(toHex(exported))
    expect(exported.length).toBe(32)
  })

  it('opens in Base mode when the topic is open', async () => {
    const signal = knock()
    const recipientSessionKey = cast.bob.sessionKey.publicKey
    const { sealed } = await sealSignal({ signal, key: cast.alice.key, recipientSessionKey })
    expect(sealed.mode).toBe(SealMode.BASE)
    expect((await open(sealed, { psk: undefined })).signal.seq).toBe(1n)
  })

  it('opens when the forgery of the tests forges nothing, so that each refusal below has the cause it names', async () => {
    expect((await open(await forge({}))).signal.seq).toBe(1n)
  })

  it('shows nothing of its content but a size', async () => {
    const sizes = await Promise.all([seal(), seal({ seq: 2n ** 60n })].map(async (s) => (await s).ciphertext.length))
    expect(sizes).toEqual([528, 528])
    const bytes = toHex(toBinary(SealedSignalSchema, await seal()))
    for (const hidden of [cast.alice.key.publicKey, cast.bob.key.publicKey, cast.party.topic, connectionId]) {
      expect(bytes).not.toContain(toHex(hidden))
    }
  })

  it('opens with a fresh session key pair', async () => {
    const sessionKey = await generateSessionKeyPair()
    const { sealed } = await sealSignal({
      signal: knock(),
      key: cast.alice.key,
      recipientSessionKey: sessionKey.publicKey,
    })
    expect((await open(sealed, { sessionKey, psk: undefined })).signal.seq).toBe(1n)
  })
})

type Case = [what: string, attempt: () => Promise<unknown>, reason: keyof typeof ErrorReason]

const lowOrder = '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157'

/** What an outsider or a server can do to a seal. */
const OUTSIDE: Case[] = [
  ['it has no ciphertext', async () => open({ ...(await seal()), ciphertext: new Uint8Array() }), 'SEAL_MALFORMED'],
  ['it has a tag only', async () => open({ ...(await seal()), ciphertext: new Uint8Array(16) }), 'SEAL_MALFORMED'],
  ['it is over 32 KiB', async () => open({ ...(await seal()), ciphertext: new Uint8Array(32_785) }), 'SEAL_SIZE'],
  ['it has a short key id', async () => open({ ...(await seal()), keyId: new Uint8Array(7) }), 'SEAL_MALFORMED'],
  ['its KEM is rewritten', async () => open({ ...(await seal()), kem: 0x10 }), 'SEAL_SUITE'],
  ['its KDF is rewritten', async () => open({ ...(await seal()), kdf: 3 }), 'SEAL_SUITE'],
  ['its AEAD is rewritten', async () => open({ ...(await seal()), aead: 3 }), 'SEAL_SUITE'],
  ['its AEAD is export-only', async () => open({ ...(await seal()), aead: 0xffff }), 'SEAL_SUITE'],
  ['its mode is rewritten', async () => open({ ...(await seal()), mode: SealMode.BASE }), 'SEAL_MODE'],
  ['its mode is missing', async () => open({ ...(await seal()), mode: SealMode.UNSPECIFIED }), 'SEAL_MODE'],
  ['it is sealed without the psk where one is required', () => sealedBase().then((s) => open(s)), 'SEAL_MODE'],
  ['it is sealed with a psk where none is wanted', async () => open(await seal(), { psk: undefined }), 'SEAL_MODE'],
  ['its mode is rewritten to match', async () => open({ ...(await sealedBase()), mode: SealMode.PSK }), 'SEAL_OPEN'],
  ['the psk is another', async () => open(await seal(), { psk: new Uint8Array(32).fill(1) }), 'SEAL_OPEN'],
  ['the psk is short', async () => open(await seal(), { psk: new Uint8Array(16).fill(1) }), 'SEAL_MODE'],
  [
    'it is sealed to an old session key',
    async () => open(await seal(), { sessionKey: await generateSessionKeyPair() }),
    'SEAL_KEY',
  ],
  ['its encapsulated key is zero', async () => open({ ...(await seal()), enc: new Uint8Array(32) }), 'SEAL_KEY'],
  ['its encapsulated key is of low order', async () => open({ ...(await seal()), enc: fromHex(lowOrder) }), 'SEAL_KEY'],
  [
    'its encapsulated key has 31 bytes',
    async () => open({ ...(await seal()), enc: new Uint8Array(31).fill(9) }),
    'SEAL_KEY',
  ],
  ['its encapsulated key is another', async () => open({ ...(await seal()), enc: (await seal()).enc }), 'SEAL_OPEN'],
  ['it is opened in another topic', async () => open(await seal(), { topic: new Uint8Array(32).fill(1) }), 'SEAL_OPEN'],
  [
    'it is opened in another session',
    async () => open(await seal(), { self: { peerKey: cast.bob.key.publicKey, sessionId: new Uint8Array(16) } }),
    'SEAL_OPEN',
  ],
  [
    'it is forwarded to another peer',
    async () => open(await seal(), { self: { peerKey: cast.mallory.key.publicKey, sessionId: cast.bob.sessionId } }),
    'SEAL_OPEN',
  ],
  [
    'it is reflected to its sender',
    async () =>
      open(await seal(), {
        sessionKey: cast.alice.sessionKey,
        self: { peerKey: cast.alice.key.publicKey, sessionId: cast.alice.sessionId },
      }),
    'SEAL_KEY',
  ],
]

/** What somebody who can seal to Bob can put inside. */
const INSIDE: Case[] = [
  [
    'the server names another sender',
    async () => open(await seal(), { expectFrom: cast.mallory.key.publicKey }),
    'SEAL_SENDER',
  ],
  [
    'another peer signed in the name of the sender',
    () => forge({ signer: cast.mallory }).then((s) => open(s)),
    'SEAL_SENDER',
  ],
  ['it is signed under another label', () => forge({ label: 'membership' }).then((s) => open(s)), 'SEAL_SENDER'],
  [
    'it was signed for another session key',
    () => forge({ signedFor: cast.mallory.sessionKey.publicKey }).then((s) => open(s)),
    'SEAL_SENDER',
  ],
  [
    'its sender is the recipient',
    () =>
      forge({ signal: { from: cast.bob.key.publicKey }, signer: cast.bob }).then((s) =>
        open(s, { expectFrom: undefined }),
      ),
    'SEAL_SENDER',
  ],
  [
    'its sender is a key of small order',
    () => forge({ signal: { from: new Uint8Array(32) } }).then((s) => open(s, { expectFrom: undefined })),
    'SEAL_SENDER',
  ],
  [
    'it was written for another peer and sealed on',
    () => forge({ signal: { to: cast.mallory.key.publicKey } }).then((s) => open(s)),
    'SEAL_RECIPIENT',
  ],
  [
    'it was written for another session',
    () => forge({ signal: { toSession: cast.mallory.sessionId } }).then((s) => open(s)),
    'SEAL_SESSION',
  ],
  [
    'it was written for another topic',
    () => forge({ signal: { topic: new Uint8Array(32).fill(1) } }).then((s) => open(s)),
    'SEAL_TOPIC',
  ],
  ['its seq is 0', () => forge({ signal: { seq: 0n } }).then((s) => open(s)), 'SEAL_SEQ'],
  ['its seq is 2^64 - 1', () => forge({ signal: { seq: 2n ** 64n - 1n } }).then((s) => open(s)), 'SEAL_SEQ'],
  ['its version is unknown', () => forge({ signal: { version: 2 } }).then((s) => open(s)), 'SEAL_MALFORMED'],
  ['it has no body', () => forge({ signal: { body: { case: undefined } } }).then((s) => open(s)), 'SEAL_MALFORMED'],
  [
    'its sender has 31 bytes',
    () => forge({ signal: { from: new Uint8Array(31) } }).then((s) => open(s)),
    'SEAL_MALFORMED',
  ],
  [
    'its session id has 15 bytes',
    () => forge({ signal: { fromSession: new Uint8Array(15) } }).then((s) => open(s)),
    'SEAL_MALFORMED',
  ],
  [
    'its connection id is missing',
    () => forge({ signal: { connectionId: new Uint8Array() } }).then((s) => open(s)),
    'SEAL_MALFORMED',
  ],
  [
    'its content is no message',
    () => forge({ plaintext: pad(Uint8Array.of(255, 255)) }).then((s) => open(s)),
    'SEAL_MALFORMED',
  ],
  [
    'its padding is not zero',
    () => forge({ plaintext: pad(new Uint8Array(8)).fill(1, 500) }).then((s) => open(s)),
    'SEAL_PADDING',
  ],
  [
    'its padding is of the wrong bucket',
    () => forge({ plaintext: new Uint8Array(1_024) }).then((s) => open(s)),
    'SEAL_PADDING',
  ],
  ['it is not padded', () => forge({ plaintext: utf8Encode('hello') }).then((s) => open(s)), 'SEAL_PADDING'],
]

async function sealedBase(): Promise<SealedSignal> {
  const recipientSessionKey = cast.bob.sessionKey.publicKey
  return (await sealSignal({ signal: knock(), key: cast.alice.key, recipientSessionKey })).sealed
}

describe('a sealed signal is refused', () => {
  it.each(OUTSIDE)('when %s', async (_, attempt, reason) => {
    await expectRefusal(attempt, reason)
  })

  it.each(INSIDE)('when %s', async (_, attempt, reason) => {
    await expectRefusal(attempt, reason)
  })

  it('when any one of its bits is flipped', async () => {
    const sealed = await seal()
    const { tried, acceptedBits } = await tryBitFlips(SealedSignalSchema, sealed, (mutated) => open(mutated))
    expect(acceptedBits).toEqual([])
    expect(tried).toBeGreaterThan((sealed.ciphertext.length + sealed.enc.length + sealed.keyId.length) * 8)
  }, 60_000)

  it('when it comes again, or is sealed again with the same seq', async () => {
    const window = new ReplayWindow(SIGNAL_REPLAY_WINDOW)
    const replayWindow = (signal: Signal): ReplayWindow => {
      expect(signal.from.length).toBe(32)
      return window
    }
    const sealed = await seal({ seq: 5n })
    await open(sealed, { replayWindow })
    await expectRefusal(() => open(sealed, { replayWindow }), 'SEAL_REPLAY')
    const resealed = await seal({ seq: 5n, connectionId: new Uint8Array(16).fill(1) })
    await expectRefusal(() => open(resealed, { replayWindow }), 'SEAL_REPLAY')
    await open(await seal({ seq: 4n }), { replayWindow })
    await open(await seal({ seq: 5_000n }), { replayWindow })
    const tooOld = await seal({ seq: 5_000n - 1_025n })
    await expectRefusal(() => open(tooOld, { replayWindow }), 'SEAL_REPLAY')
  })

  it('without using up its seq when it was forged', async () => {
    const window = new ReplayWindow(SIGNAL_REPLAY_WINDOW)
    const replayWindow = (): ReplayWindow => window
    const forgery = await forge({ signer: cast.mallory })
    await expectRefusal(() => open(forgery, { replayWindow }), 'SEAL_SENDER')
    await open(await seal(), { replayWindow })
  })
})

describe('sealing is refused', () => {
  it.each<Case>([
    ['the sender is not the signer', () => seal({ from: cast.mallory.key.publicKey }), 'SEAL_SENDER'],
    ['the seq is 0', () => seal({ seq: 0n }), 'SEAL_SEQ'],
    ['there is no body', () => seal({ body: { case: undefined } }), 'SEAL_MALFORMED'],
    ['the recipient has no usable session key', () => sealTo(new Uint8Array(32)), 'SEAL_KEY'],
    ['it does not fit into 32 KiB', () => seal(oversizeHello()), 'SEAL_SIZE'],
  ])('when %s', async (_, attempt, reason) => {
    await expectRefusal(attempt, reason)
  })
})

function sealTo(recipientSessionKey: Uint8Array): ReturnType<typeof sealSignal> {
  return sealSignal({ signal: knock(), key: cast.alice.key, recipientSessionKey })
}

function oversizeHello(): Partial<SignalInit> {
  return { body: { case: 'hello', value: { record: { record: new Uint8Array(33_000) } } } }
}
