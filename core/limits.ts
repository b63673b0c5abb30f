import { ErrorReason, MeshError } from './error.ts'

const KIB = 1_024
const MIB = 1_024 * KIB
const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Every bound that an operator can set. A server enforces them; most are told to clients in SessionLimits. */
export interface Limits {
  /** Bytes of one Envelope.payload. */
  readonly maxMessageBytes: number
  /** Bytes of one request body of a peer, enforced while it is read. */
  readonly maxRequestBytes: number
  /** Bytes of MembershipRecord.state. */
  readonly maxStateBytes: number
  /** Shortest MembershipRecord.ttl_ms. */
  readonly minRecordTtlMs: number
  /** Longest MembershipRecord.ttl_ms. */
  readonly maxRecordTtlMs: number
  /** How far wall clocks may disagree, either way, when a record's times are judged. */
  readonly clockSkewMs: number
  /** ttl_ms that a client writes when the application says nothing. */
  readonly recordTtlMs: number
  /** How long a challenge may be answered. */
  readonly challengeTtlMs: number
  /** How long a token is good; clients renew at two thirds of it. */
  readonly tokenTtlMs: number
  /** How long memberships survive a session without a stream. */
  readonly leaseMs: number
  /** A heartbeat comes at least this often on every stream. */
  readonly heartbeatMs: number
  /** A stream with no byte for this long is dead. */
  readonly deadAfterMs: number
  /** Topics one session may be a member of. */
  readonly maxTopicsPerSession: number
  /** Concurrent Subscribe or Exchange streams of one session. */
  readonly maxStreamsPerSession: number
  /** Members returned by one Join; a random sample when there are more. */
  readonly maxMembersPerJoin: number
  /** Members of one topic at one server. */
  readonly maxMembersPerTopic: number
  /** Join and Leave calls of one session: refill per second, and bucket size. */
  readonly joinsPerSecond: number
  readonly joinsBurst: number
  /** Envelopes of one session. */
  readonly messagesPerSecond: number
  readonly messagesBurst: number
  /** Envelopes from one peer to one other. */
  readonly pairMessagesPerSecond: number
  readonly pairMessagesBurst: number
  /** Envelopes held for one absent recipient. */
  readonly maxHeldMessages: number
  /** Longest Envelope.ttl_ms. */
  readonly maxHoldMs: number
  /** OpenSession calls from one IPv4 address or IPv6 /64. */
  readonly openSessionsPerSecond: number
  readonly openSessionsBurst: number
  /** Bytes queued for one stream before it is closed as a slow reader. */
  readonly maxStreamQueueBytes: number
  /** Events kept for a resuming stream, by count, bytes and age. */
  readonly replayMaxEvents: number
  readonly replayMaxBytes: number
  readonly replayMaxAgeMs: number
  /** A connection that has not made an authenticated call is closed after this. */
  readonly unauthenticatedMs: number
  /** HTTP/1.1: time to send all headers, and the whole request. */
  readonly httpHeaderMs: number
  readonly httpRequestMs: number
  /** HTTP/2: concurrent streams of a connection, bytes of a header list, time for a request body. */
  readonly http2MaxStreams: number
  readonly http2MaxHeaderBytes: number
  readonly http2BodyMs: number
  /** Live sessions of one server. */
  readonly maxSessions: number
  /** Lookup calls of one session. */
  readonly lookupsPerSecond: number
  readonly lookupsBurst: number
  /** Members on one page of Lookup. */
  readonly maxLookupPage: number
  /** Rows that one federated server may send. */
  readonly federationRecordsPerSecond: number
  /** Envelopes that one federated server may send. */
  readonly federationMessagesPerSecond: number
  /** Bytes of one ReplicateRequest or ReplicateResponse. */
  readonly federationMaxRequestBytes: number
  /** Peer: links that are being opened at once. */
  readonly maxPendingHandshakes: number
  /** Peer: time for a link to open. */
  readonly linkOpenMs: number
  /** How long TURN credentials are good. */
  readonly turnCredentialTtlMs: number
}

/** The defaults of docs/protocol.md, "Limits". */
export const DEFAULT_LIMITS: Limits = {
  maxMessageBytes: 64 * KIB,
  // 128 KiB: one maximum-size message with room for envelope and framing, or a batch of 64 messages of 2,000 bytes.
  maxRequestBytes: 128 * KIB,
  maxStateBytes: KIB,
  minRecordTtlMs: SECOND_MS,
  maxRecordTtlMs: 24 * HOUR_MS,
  clockSkewMs: 120 * SECOND_MS,
  recordTtlMs: 15 * MINUTE_MS,
  challengeTtlMs: MINUTE_MS,
  tokenTtlMs: HOUR_MS,
  leaseMs: 15 * SECOND_MS,
  heartbeatMs: 10 * SECOND_MS,
  // 25 s: two heartbeats and a half.
  deadAfterMs: 25 * SECOND_MS,
  maxTopicsPerSession: 128,
  maxStreamsPerSession: 4,
  maxMembersPerJoin: 64,
  maxMembersPerTopic: 10_000,
  joinsPerSecond: 1,
  joinsBurst: 20,
  messagesPerSecond: 50,
  messagesBurst: 200,
  pairMessagesPerSecond: 20,
  pairMessagesBurst: 100,
  maxHeldMessages: 32,
  maxHoldMs: 30 * SECOND_MS,
  openSessionsPerSecond: 5,
  openSessionsBurst: 50,
  // 1 MiB: 16 maximum-size messages.
  maxStreamQueueBytes: MIB,
  // 60 s covers a reconnect with two failed attempts; 1 MiB is one full stream queue.
  replayMaxEvents: 1_024,
  replayMaxBytes: MIB,
  replayMaxAgeMs: MINUTE_MS,
  unauthenticatedMs: 10 * SECOND_MS,
  httpHeaderMs: 5 * SECOND_MS,
  httpRequestMs: 10 * SECOND_MS,
  http2MaxStreams: 64,
  http2MaxHeaderBytes: 16 * KIB,
  http2BodyMs: 10 * SECOND_MS,
  // 100,000 sessions of about 10 to 20 KiB fill 1 to 2 GiB.
  maxSessions: 100_000,
  lookupsPerSecond: 2,
  lookupsBurst: 20,
  maxLookupPage: 64,
  federationRecordsPerSecond: 5_000,
  federationMessagesPerSecond: 2_000,
  federationMaxRequestBytes: MIB,
  maxPendingHandshakes: 16,
  linkOpenMs: 10 * SECOND_MS,
  turnCredentialTtlMs: HOUR_MS,
}

/** The name of a limit in ErrorDetail.limit and in documents for operators: `max_message_bytes`. */
export function limitWireName(name: keyof Limits): string {
  // An "http2" stays one word: only capitals start a new one.
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** The LIMIT_EXCEEDED error for a limit: what it is, what was found, and when to come back (rates only). */
export function limitExceeded(
  name: keyof Limits,
  limitValue: number,
  found: { value?: number | bigint; retryAfterMs?: number } = {},
): MeshError {
  const wireName = limitWireName(name)
  const value = found.value === undefined ? '' : `, found ${found.value}`
  const message = `Over the limit ${wireName}: ${limitValue}${value}`
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, message, { limit: wireName, limitValue, ...found })
}
