import type { MessageInitShape } from '@bufbuild/protobuf'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { SealedSignal, Signal, SignedSignal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { SealedSignalSchema, SealMode, SignalSchema, SignedSignalSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { concatBytes, equalBytes, forWebCrypto, utf8Encode } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'
import type { SigningKey } from '../identity/ed25519.ts'
import { signStatement, verifyStatement } from '../identity/statement.ts'
import type { HpkeAgreement, HpkeKeyPair, HpkeSuite } from './hpke.ts'
import { HPKE_AEAD, HPKE_KDF, HPKE_KEM, HPKE_SUITE, hpkeOpen, hpkeSeal } from './hpke.ts'
import { MAX_PADDED_BYTES, pad, unpad } from './padding.ts'
import type { ReplayWindow } from './replay-window.ts'

/**
 * Sealed signals (mesh/peer/v1/seal.proto): what one peer says to another through servers that must neither read nor
 * rebind it.
 *
 *  1. The sender serialises a Signal and signs it together with the recipient's session key.
 *  2. Signal and signature are padded and sealed (HPKE) to that session key; topic, recipient and recipient's session
 *     are bound in as `info`, and the party's psk as HPKE psk.
 *  3. The recipient opens it, checks padding, addressing, the signature inside, and the seq.
 *
 * Signing the recipient's session key inside keeps a recipient from sealing the signal on to somebody else.
 */

/** A session's X25519 key pair. Lives in memory only; the private half cannot be extracted. */
export interface SessionKeyPair {
  /** 32 bytes: what membership records publish as session_key. */
  readonly publicKey: Uint8Array
  readonly pair: unknown
}

/** Signals of one sender session remembered to recognise replays. */
export const SIGNAL_REPLAY_WINDOW = 1_024

/** Everything of a Signal but the version; `from` may be left out. */
export type SignalInit = Omit<MessageInitShape<typeof SignalSchema>, 'version' | '$typeName'>

export interface SealOptions {
  signal: SignalInit
  /** Signs as Signal.from. */
  key: SigningKey
  /** From the recipient's verified membership record, 32 bytes. */
  recipientSessionKey: Uint8Array
  /** The party's psk, 32 bytes; without it the signal is sealed in Base mode. */
  psk?: Uint8Array | undefined
}

export interface OpenOptions {
  sealed: SealedSignal
  /** Own session key pair. */
  sessionKey: SessionKeyPair
  /** Own key and session id: what the signal must be addressed to. */
  self: { peerKey: Uint8Array; sessionId: Uint8Array }
  topic: Uint8Array
  /** The party's psk: when given, only PSK mode is accepted; when not, only Base mode. */
  psk?: Uint8Array | undefined
  /** Whom the server says it is from; a signal from anybody else is refused. */
  expectFrom?: Uint8Array | undefined
  /**
   * The window for the sender and session of this (fully verified) signal. Undefined skips the check, for senders that
   * have not proved to be members: windows are kept for members only, so that strangers cannot evict them.
   */
  replayWindow?: (signal: Signal) => ReplayWindow | undefined
}

const TAG_BYTES = 16
const KEY_ID_BYTES = 8
const PSK_ID = 'mesh/1 party-psk'
const MAX_SEQ = 2n ** 64n - 2n

export async function generateSessionKeyPair(): Promise<SessionKeyPair> {
  const pair = await HPKE_SUITE.GenerateKeyPair()
  return { publicKey: await HPKE_SUITE.SerializePublicKey(pair.publicKey), pair }
}

/** The first 8 bytes of SHA-256 of a session key: tells the recipient which of its keys to open with. */
export async function sessionKeyId(sessionKey: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', forWebCrypto(sessionKey))).subarray(0, KEY_ID_BYTES)
}

/**
 * Steps 1 and 2. `exported` is the HPKE exporter secret, 32 bytes, for the link keys.
 * @throws MeshError SEAL_SENDER when `from` is not the key's, SEAL_KEY, SEAL_SIZE, SEAL_SEQ, SEAL_MALFORMED
 */
export async function sealSignal(options: SealOptions): Promise<{ sealed: SealedSignal; exported: Uint8Array }> {
  return sealSignalWith(HPKE_SUITE, options)
}

/** `sealSignal` under another suite object: test vectors need a fixed ephemeral key. Not for applications. */
export async function sealSignalWith(
  suite: HpkeSuite,
  options: SealOptions,
): Promise<{ sealed: SealedSignal; exported: Uint8Array }> {
  const { key, recipientSessionKey, psk } = options
  const message = create(SignalSchema, { from: key.publicKey, ...options.signal, version: 1 })
  if (!equalBytes(message.from, key.publicKey)) {
    throw new MeshError(ErrorReason.SEAL_SENDER, 'A signal is sent in the name of the key that signs it')
  }
  checkShape(message)
  const signal = toBinary(SignalSchema, message)
  const signature = await signStatement(key, 'signal', concatBytes(signal, recipientSessionKey))
  const content = toBinary(SignedSignalSchema, create(SignedSignalSchema, { signal, signature }))
  const { enc, ciphertext, exported } = await hpkeSeal({
    ...agreement(message.topic, message.to, message.toSession, psk),
    suite,
    recipientKey: recipientSessionKey,
    plaintext: pad(content),
  })
  const sealed = create(SealedSignalSchema, {
    kem: HPKE_KEM,
    kdf: HPKE_KDF,
    aead: HPKE_AEAD,
    mode: psk === undefined ? SealMode.BASE : SealMode.PSK,
    keyId: await sessionKeyId(recipientSessionKey),
    enc,
    ciphertext,
  })
  return { sealed, exported }
}

/**
 * Step 3. What it returns was written by `signal.from` for exactly this recipient, session and topic.
 *
 * @throws MeshError with the reason of the first check that fails: SEAL_SIZE, SEAL_MALFORMED, SEAL_SUITE, SEAL_MODE
 * (psk mode missing or not wanted), SEAL_KEY (another session key, or an unusable encapsulated key), SEAL_OPEN,
 * SEAL_PADDING, SEAL_MALFORMED (what was inside), SEAL_RECIPIENT, SEAL_SESSION, SEAL_TOPIC, SEAL_SENDER (not the
 * expected one, oneself, or not signed by it), SEAL_SEQ, SEAL_REPLAY
 */
export async function openSignal(options: OpenOptions): Promise<{ signal: Signal; exported: Uint8Array }> {
  const { sealed, sessionKey, self, topic, psk } = options
  await checkEnvelope(sealed, sessionKey, psk)
  const { plaintext, exported } = await hpkeOpen({
    ...agreement(topic, self.peerKey, self.sessionId, psk),
    pair: sessionKey.pair as HpkeKeyPair,
    enc: sealed.enc,
    ciphertext: sealed.ciphertext,
  })
  const content = unpad(plaintext)
  const signed = parse(() => fromBinary(SignedSignalSchema, content))
  const signal = parse(() => fromBinary(SignalSchema, signed.signal))
  checkShape(signal)
  checkAddress(signal, options)
  await checkSignature(signal, signed, sessionKey.publicKey)
  const window = options.replayWindow?.(signal)
  if (window !== undefined && !window.accept(signal.seq)) {
    throw new MeshError(ErrorReason.SEAL_REPLAY, `Signal ${signal.seq} was seen before`, { value: signal.seq })
  }
  return { signal, exported }
}

/** info and psk of a seal. */
function agreement(
  topic: Uint8Array,
  recipient: Uint8Array,
  recipientSession: Uint8Array,
  psk: Uint8Array | undefined,
): HpkeAgreement {
  if (psk !== undefined && psk.length !== 32) {
    throw new MeshError(ErrorReason.SEAL_MODE, `A party's psk has 32 bytes, not ${psk.length}`)
  }
  return {
    info: concatBytes(utf8Encode('mesh/1 seal'), topic, recipient, recipientSession),
    psk: psk === undefined ? undefined : { secret: psk, id: utf8Encode(PSK_ID) },
    exporterContext: utf8Encode('mesh/1 link'),
  }
}

/** What can be told before opening. */
async function checkEnvelope(
  sealed: SealedSignal,
  sessionKey: SessionKeyPair,
  psk: Uint8Array | undefined,
): Promise<void> {
  const size = sealed.ciphertext.length
  if (size > MAX_PADDED_BYTES + TAG_BYTES) {
    throw new MeshError(ErrorReason.SEAL_SIZE, 'The sealed signal is too large', {
      limit: 'max_padded_bytes',
      limitValue: MAX_PADDED_BYTES,
      value: size,
    })
  }
  refuseUnless(size > TAG_BYTES, ErrorReason.SEAL_MALFORMED, `its ciphertext has ${size} bytes`)
  refuseUnless(sealed.keyId.length === KEY_ID_BYTES, ErrorReason.SEAL_MALFORMED, 'key_id has not 8 bytes')
  const suiteFits = sealed.kem === HPKE_KEM && sealed.kdf === HPKE_KDF && sealed.aead === HPKE_AEAD
  refuseUnless(suiteFits, ErrorReason.SEAL_SUITE, 'only X25519, HKDF-SHA256, AES-128-GCM is accepted')
  const mode = psk === undefined ? SealMode.BASE : SealMode.PSK
  refuseUnless(sealed.mode === mode, ErrorReason.SEAL_MODE, `mode ${sealed.mode} where ${mode} is required`)
  const keyId = await sessionKeyId(sessionKey.publicKey)
  refuseUnless(equalBytes(sealed.keyId, keyId), ErrorReason.SEAL_KEY, 'it is sealed to another session key')
}

function checkShape(signal: Signal): void {
  refuseUnless(signal.version === 1, ErrorReason.SEAL_MALFORMED, `version ${signal.version}`)
  const keysFit = signal.from.length === 32 && signal.to.length === 32 && signal.topic.length === 32
  refuseUnless(keysFit, ErrorReason.SEAL_MALFORMED, 'from, to or topic has not 32 bytes')
  const sessionsFit = signal.fromSession.length === 16 && signal.toSession.length === 16
  refuseUnless(sessionsFit, ErrorReason.SEAL_MALFORMED, 'a session id has not 16 bytes')
  refuseUnless(signal.connectionId.length === 16, ErrorReason.SEAL_MALFORMED, 'connection_id has not 16 bytes')
  refuseUnless(signal.body.case !== undefined, ErrorReason.SEAL_MALFORMED, 'it has no body that is known here')
  refuseUnless(signal.seq >= 1n && signal.seq <= MAX_SEQ, ErrorReason.SEAL_SEQ, `seq ${signal.seq}`)
}

function checkAddress(signal: Signal, options: OpenOptions): void {
  const { self, topic, expectFrom } = options
  refuseUnless(equalBytes(signal.to, self.peerKey), ErrorReason.SEAL_RECIPIENT, 'it was written for another peer')
  const sessionFits = equalBytes(signal.toSession, self.sessionId)
  refuseUnless(sessionFits, ErrorReason.SEAL_SESSION, 'it was written for another session')
  refuseUnless(equalBytes(signal.topic, topic), ErrorReason.SEAL_TOPIC, 'it was written for another topic')
  refuseUnless(!equalBytes(signal.from, self.peerKey), ErrorReason.SEAL_SENDER, 'it comes from oneself')
  const senderFits = expectFrom === undefined || equalBytes(signal.from, expectFrom)
  refuseUnless(senderFits, ErrorReason.SEAL_SENDER, 'it comes from another peer than the server says')
}

async function checkSignature(signal: Signal, signed: SignedSignal, sessionKey: Uint8Array): Promise<void> {
  try {
    await verifyStatement(signal.from, 'signal', concatBytes(signed.signal, sessionKey), signed.signature)
  } catch (cause) {
    const message = 'The sealed signal is refused: its sender did not sign it for this session'
    throw new MeshError(ErrorReason.SEAL_SENDER, message, { cause })
  }
}

function parse<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new MeshError(ErrorReason.SEAL_MALFORMED, 'The sealed signal holds no protobuf message', { cause })
  }
}

function refuseUnless(holds: boolean, reason: ErrorReason, what: string): asserts holds {
  if (!holds) throw new MeshError(reason, `The sealed signal is refused: ${what}`)
}
