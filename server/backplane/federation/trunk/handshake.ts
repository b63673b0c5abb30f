import { create } from '@bufbuild/protobuf'
import {
  type Ed25519Verify,
  ErrorReason,
  equalBytes,
  MeshError,
  type Random,
  type SigningKey,
  signNodeProof,
  toHex,
  utf8Encode,
  verifyNodeProof,
} from '@mesh/core'
import {
  Channel,
  type Frame,
  FrameSchema,
  type Hello,
  HelloSchema,
  type OriginPosition,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Neighbour } from '../channel.ts'

/**
 * How a Replicate stream begins, the same on both channels:
 *
 *  1. The dialler says Hello: who it is, which realm and channel, a challenge.
 *  2. The one that was dialled refuses servers it does not know before it says anything about itself; then its own Hello.
 *  3. The dialler checks that this is the server it called, and sends its Proof over the other's challenge.
 *  4. The one that was dialled verifies it, and sends its own Proof. From here on it may send other frames.
 *  5. The dialler verifies that one, and may send other frames too.
 *
 * So a stranger learns nothing, gets no signature, and costs no more than a Hello.
 */

/** Frames as they come and go while the stream opens. Goaway and the end of the stream reject `read`. */
export interface HandshakeLine {
  read(): Promise<Frame>
  write(frame: Frame): void
}

export interface HandshakeOptions {
  readonly key: SigningKey
  readonly realm: string
  /** This server's epoch, and what it holds. Asked when the Hello is written. */
  readonly hello: () => { readonly epoch: bigint; readonly have: readonly OriginPosition[] }
  readonly limits: ServerLimits
  readonly random: Random
  readonly verify: Ed25519Verify | undefined
}

/** What both sides know once both proofs were accepted. */
export interface Opened {
  readonly neighbour: Neighbour
  readonly channel: Channel
  /** Frames the other side takes before it grants more. */
  readonly credit: number
}

const VERSION = 1
const KEY_BYTES = 32
const CHALLENGE_BYTES = 32
const MAX_REALM_BYTES = 64

/** Positions in a Hello: more than any server holds by default, and 60 KiB at most. */
const MAX_POSITIONS = 1_024

/** What an ordinary request may have: a message of maximum size must fit with what is around it. */
const LEAST_REQUEST_BYTES = 128 * 1_024

/** Steps 1, 3 and 5. @throws MeshError why the other side is not the server that was called. */
export async function dialHandshake(
  line: HandshakeLine,
  expected: { readonly serverKey: Uint8Array; readonly channel: Channel },
  options: HandshakeOptions,
): Promise<Opened> {
  const own = ownHello(expected.channel, options)
  line.write(frameOf('hello', own))
  const theirs = await readHello(line)
  if (!equalBytes(theirs.serverKey, expected.serverKey)) {
    const found = `${toHex(expected.serverKey)} was called, ${toHex(theirs.serverKey)} answered`
    throw new MeshError(ErrorReason.SERVER_KEY_MISMATCH, found)
  }
  checkHello(theirs, options)
  if (theirs.channel !== expected.channel) throw wrong(`channel ${theirs.channel}, called for ${expected.channel}`)
  await sendProof(line, theirs, own, options)
  await readProof(line, theirs, own, options)
  return opened(theirs, options)
}

/**
 * Steps 2 and 4. `admit` says why a server is not welcome, if it is not.
 * @throws MeshError why the caller is refused.
 */
export async function acceptHandshake(
  line: HandshakeLine,
  admit: (server: ByteKey) => MeshError | undefined,
  options: HandshakeOptions,
): Promise<Opened> {
  const theirs = await readHello(line)
  const refusal = admit(byteKey(theirs.serverKey))
  if (refusal !== undefined) throw refusal
  checkHello(theirs, options)
  const own = ownHello(theirs.channel, options)
  line.write(frameOf('hello', own))
  await readProof(line, theirs, own, options)
  await sendProof(line, theirs, own, options)
  return opened(theirs, options)
}

function ownHello(channel: Channel, { key, realm, hello, limits, random }: HandshakeOptions): Hello {
  const { epoch, have } = hello()
  return create(HelloSchema, {
    version: VERSION,
    serverKey: key.publicKey,
    realm,
    channel,
    epoch,
    have: [...have],
    challenge: random.bytes(CHALLENGE_BYTES),
    limits: {
      recordsPerSecond: limits.federationRecordsPerSecond,
      messagesPerSecond: limits.federationMessagesPerSecond,
      maxRequestBytes: limits.federationMaxRequestBytes,
      maxRows: BigInt(limits.federationMaxRows),
      maxLeaseMs: limits.federationMaxLeaseMs,
    },
    credit: limits.federationCreditFrames,
  })
}

/** The first frame, with a version and a key that mean something. */
async function readHello(line: HandshakeLine): Promise<Hello> {
  const { frame } = await line.read()
  if (frame.case !== 'hello') throw wrong(`the first frame is ${frame.case ?? 'unknown'}, not hello`)
  const { version, serverKey } = frame.value
  if (version !== VERSION) {
    const limits = { limit: 'version', limitValue: VERSION, value: version }
    throw new MeshError(ErrorReason.NOT_SUPPORTED, `hello of version ${version}`, limits)
  }
  if (serverKey.length !== KEY_BYTES) throw wrong(`hello with a server key of ${serverKey.length} bytes`)
  return frame.value
}

function checkHello(theirs: Hello, { key, realm }: HandshakeOptions): void {
  if (equalBytes(theirs.serverKey, key.publicKey)) {
    throw new MeshError(ErrorReason.NODE_NOT_ALLOWED, 'hello with the key of this server itself')
  }
  if (utf8Encode(theirs.realm).length > MAX_REALM_BYTES)
    throw wrong(`hello with a realm above ${MAX_REALM_BYTES} bytes`)
  if (theirs.realm !== realm) {
    throw new MeshError(ErrorReason.REALM_MISMATCH, `the other server is of another realm, "${theirs.realm}"`)
  }
  const { channel, challenge, have, credit, limits } = theirs
  if (channel !== Channel.DIRECTORY && channel !== Channel.MESSAGES) throw wrong(`hello for channel ${channel}`)
  if (challenge.length !== CHALLENGE_BYTES) throw wrong(`hello with a challenge of ${challenge.length} bytes`)
  if (have.length > MAX_POSITIONS) throw wrong(`hello with ${have.length} positions, more than ${MAX_POSITIONS}`)
  if (have.some(({ origin }) => origin.length !== KEY_BYTES)) throw wrong('hello with an origin that is no key')
  if (credit < 1) throw wrong('hello without credit')
  if (limits === undefined || limits.recordsPerSecond < 1 || limits.messagesPerSecond < 1) {
    throw wrong('hello with limits that let nothing through')
  }
  if (limits.maxRequestBytes < LEAST_REQUEST_BYTES) {
    throw wrong(`hello with max_request_bytes ${limits.maxRequestBytes}, less than ${LEAST_REQUEST_BYTES}`)
  }
}

async function sendProof(line: HandshakeLine, theirs: Hello, own: Hello, options: HandshakeOptions): Promise<void> {
  const { realm, channel, epoch } = own
  const { challenge, serverKey: peerServerKey } = theirs
  const proof = await signNodeProof(options.key, { challenge, peerServerKey, realm, channel, epoch })
  line.write(create(FrameSchema, { frame: { case: 'proof', value: { proof } } }))
}

async function readProof(line: HandshakeLine, theirs: Hello, own: Hello, { verify }: HandshakeOptions): Promise<void> {
  const { frame } = await line.read()
  if (frame.case !== 'proof') throw wrong(`the second frame is ${frame.case ?? 'unknown'}, not proof`)
  if (frame.value.proof === undefined) throw wrong('a proof without a statement')
  const { challenge, realm, serverKey: peerServerKey } = own
  const { serverKey, channel, epoch } = theirs
  await verifyNodeProof(frame.value.proof, { serverKey, peerServerKey, challenge, realm, channel, epoch, verify })
}

function opened({ serverKey, epoch, have, limits, channel, credit }: Hello, options: HandshakeOptions): Opened {
  if (limits === undefined) throw wrong('hello without limits')
  // What this server would not take, it does not make either.
  const maxRequestBytes = Math.min(limits.maxRequestBytes, options.limits.federationMaxRequestBytes)
  const neighbour = { server: byteKey(serverKey), epoch, have, limits: { ...limits, maxRequestBytes } }
  return { neighbour, channel, credit }
}

function frameOf(name: 'hello', value: Hello): Frame {
  return create(FrameSchema, { frame: { case: name, value } })
}

function wrong(what: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `federation handshake: ${what}`)
}
