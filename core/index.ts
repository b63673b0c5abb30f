/**
 * @mesh/core: the pure parts of MESH. No I/O, no ambient clock; runs in browsers and in Node. What is not listed here
 * is private.
 */

// For adapters: time, randomness, bounds
export type { BoundedQueueOptions, OverflowPolicy } from './bounded-queue.ts'
export { BoundedQueue } from './bounded-queue.ts'
// For adapters: bytes
export {
  compareBytes,
  concatBytes,
  equalBytes,
  forWebCrypto,
  fromBase64Url,
  fromHex,
  isAllZero,
  toBase64Url,
  toHex,
  utf8Decode,
  utf8Encode,
} from './bytes.ts'
// For applications
export type { MeshErrorOptions } from './error.ts'
export { ErrorReason, MeshError } from './error.ts'
export type { Ed25519Verify, Ed25519VerifySync, SigningKey } from './identity/ed25519.ts'
// For adapters: keys, statements, sessions
export {
  checkPublicKey,
  generateCryptoKeys,
  generateSigningKey,
  signingKeyFromCryptoKeys,
  signingKeyFromSeed,
  verifyStrict,
  verifyStrictSync,
} from './identity/ed25519.ts'
export type { NodeProofExpectations, NodeProofFields } from './identity/node-proof.ts'
export { signNodeProof, verifyNodeProof } from './identity/node-proof.ts'
export { formatPeerId, parsePeerId } from './identity/peer-id.ts'
export type { SessionGrantFields, SessionProofFields } from './identity/session-proof.ts'
export {
  canonicalOrigin,
  signSessionGrant,
  signSessionProof,
  verifySessionGrant,
  verifySessionProof,
} from './identity/session-proof.ts'
export type { StatementName } from './identity/statement.ts'
export { signStatement, verifyStatement, verifyStatementSync } from './identity/statement.ts'
export type { Limits } from './limits.ts'
export { DEFAULT_LIMITS, limitExceeded, limitWireName } from './limits.ts'
// For adapters: seals and links
export type { Aead, AeadFactory } from './link/aead.ts'
export { webCryptoAead } from './link/aead.ts'
export type { LinkAgreement, LinkKeys } from './link/link-keys.ts'
export { attachEvidence, deriveLinkKeys, verifyAttachEvidence } from './link/link-keys.ts'
export type { PacketOpener, PacketSealer } from './link/packet.ts'
export { MAX_PACKETS_PER_KEY, PACKET_REPLAY_WINDOW } from './link/packet.ts'
// For adapters: membership
export type { RecordExpectations, RecordFields, VerifiedRecord } from './membership/record.ts'
export {
  decideRecord,
  MAX_RECORD_BYTES,
  nextSeq,
  signRecord,
  verifyRecord,
  verifyRecordSync,
} from './membership/record.ts'
export type { Party } from './membership/topic.ts'
export {
  discoveryKey,
  identityTopic,
  openParty,
  partyFromName,
  partyFromPublicKey,
  partyPsk,
} from './membership/topic.ts'
export type { Random } from './random.ts'
export { seededRandom, systemRandom } from './random.ts'
export { ReplayWindow } from './seal/replay-window.ts'
export type { OpenOptions, SealOptions, SessionKeyPair, SignalInit } from './seal/seal.ts'
export { generateSessionKeyPair, openSignal, SIGNAL_REPLAY_WINDOW, sealSignal, sessionKeyId } from './seal/seal.ts'
export type { BackoffOptions } from './time/backoff.ts'
export { Backoff } from './time/backoff.ts'
export type { Clock, Timer } from './time/clock.ts'
export { systemClock } from './time/clock.ts'
export type { TokenBucketOptions } from './time/token-bucket.ts'
export { TokenBucket } from './time/token-bucket.ts'
export type { VirtualClockOptions } from './time/virtual-clock.ts'
export { VirtualClock } from './time/virtual-clock.ts'
