import { DEFAULT_LIMITS, ErrorReason, type Limits, limitWireName, MeshError } from '@mesh/core'

/** Bounds that concern a server alone, beside those of `Limits`. */
export interface ServerOnlyLimits {
  /** Envelopes in one SendMessage, or in one message of Exchange. */
  readonly maxEnvelopesPerRequest: number
  /** Time for the new session of a peer to join the topics of the one it replaced. */
  readonly takeoverMs: number
  /** Bytes of all envelopes held for absent recipients. */
  readonly maxHeldBytes: number
  /** Envelope ids remembered per peer, to drop duplicates. */
  readonly duplicateWindow: number
  /** Used challenges remembered until they expire. */
  readonly maxUsedChallenges: number
  /** Addresses (IPv4, or IPv6 /64) whose OpenSession quota is remembered. */
  readonly maxTrackedAddresses: number
  /** Open TCP connections. */
  readonly maxConnections: number
  /** Time for a stream that was ended to take its last notice, before its connection is cut. */
  readonly streamEndMs: number
  /** Resets of HTTP/2 streams by a client: bucket size and refill per second; beyond, the connection is closed. */
  readonly http2ResetBurst: number
  readonly http2ResetsPerSecond: number
  /** HTTP/2 ping interval; a connection that did not answer for `deadAfterMs` is closed. */
  readonly http2PingMs: number
  /** Health Watch streams, which need no session. */
  readonly maxHealthWatches: number
  /** Rows and envelopes of one federated server: what it may send at once, beside the sustained rates. */
  readonly federationRecordsBurst: number
  readonly federationMessagesBurst: number
  /** Rows of one federated server. */
  readonly federationMaxRows: number
  /** Snapshots that one federated server may start to send, sustained and at once. A sender keeps to half of the burst. */
  readonly federationSnapshotsPerSecond: number
  readonly federationSnapshotsBurst: number
  /** Epochs that one federated server may begin at once, and one more for every lease: it begins one with each start. */
  readonly federationEpochsBurst: number
  /** Federated servers, connected or remembered with their rows. */
  readonly federationMaxServers: number
  /** How long this server's rows stay visible at others without a word from it. */
  readonly federationLeaseMs: number
  /** Longest lease that another server may ask for. */
  readonly federationMaxLeaseMs: number
  /** Interval of OriginState. */
  readonly federationStateMs: number
  /** How long rows of a silent server are kept hidden, for a cheap return. */
  readonly federationHiddenMs: number
  /** How long the epoch of a server is remembered after its rows were dropped. */
  readonly federationEpochMemoryMs: number
  /** How long a server that was itself paused waits before it judges others silent. */
  readonly federationPauseGraceMs: number
  /** Entries of this server's own log that are kept for servers that fell behind; older ones need a snapshot. */
  readonly federationLogRows: number
  /** Rows in one frame. */
  readonly federationPageRows: number
  /** Frames one side of a stream may send before it needs Credit. */
  readonly federationCreditFrames: number
  /** Time for a Replicate stream to prove itself. */
  readonly federationHandshakeMs: number
  /** HTTP/2 ping interval between servers. */
  readonly federationPingMs: number
  /** Longest wait of a frame for others to travel with it. */
  readonly federationFlushMs: number
  /** Time for a receipt, after which the next home is tried. */
  readonly federationReceiptMs: number
  /** Envelopes on their way to one other server. */
  readonly federationMaxAttempts: number
  /** Bytes waiting for one Replicate stream. */
  readonly federationMaxQueueBytes: number
}

/** Every bound that `createServer` takes in `ServerOptions.limits`. */
export interface ServerLimits extends Limits, ServerOnlyLimits {}

/** The defaults, each with its reason in `docs/operations.md` or beside it here. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  ...DEFAULT_LIMITS,
  // SendMessageRequest.envelopes: "1 to 64".
  maxEnvelopesPerRequest: 64,
  // Two round trips and a signature per topic, with room for a slow phone.
  takeoverMs: 5_000,
  // 32 MiB: 16 recipients with full inboxes of maximum-size messages, or 2,000 with messages of 512 bytes.
  maxHeldBytes: 32 * 1_024 * 1_024,
  // 1,024 ids are 20 s at 50 messages a second: longer than a client retries one.
  duplicateWindow: 1_024,
  // 100,000 in 60 s are 1,666 new sessions a second, at about 100 bytes each.
  maxUsedChallenges: 100_000,
  maxTrackedAddresses: 100_000,
  maxConnections: 200_000,
  streamEndMs: 2_000,
  http2ResetBurst: 200,
  http2ResetsPerSecond: 33,
  http2PingMs: 10_000,
  maxHealthWatches: 64,
  // 4 s at the sustained rate: what a server that lost its clients gets when they all come at once.
  federationRecordsBurst: 20_000,
  federationMessagesBurst: 8_000,
  // One million rows of about 300 bytes: 300 MiB.
  federationMaxRows: 1_000_000,
  federationSnapshotsPerSecond: 1,
  // A stream that breaks again and again while a table goes through it costs one each time.
  federationSnapshotsBurst: 8,
  // A server that crashes in a loop, and is started at once each time.
  federationEpochsBurst: 8,
  federationMaxServers: 64,
  // 10 s: ten states may be lost, or one TCP connection replaced, before anybody is said to have left.
  federationLeaseMs: 10_000,
  federationMaxLeaseMs: 60_000,
  federationStateMs: 1_000,
  federationHiddenMs: 5 * 60_000,
  // One hour: longer than a message or a snapshot of the former epoch can be on its way.
  federationEpochMemoryMs: 60 * 60_000,
  federationPauseGraceMs: 2_000,
  // 3 s of changes at the sustained rate of 5,000 a second.
  federationLogRows: 16_384,
  // 100 rows of about 340 bytes are 34 KiB, 0.3 s on a line of 1 Mbit/s: Node reads nothing from a connection while one
  // write to it is under way, so a larger one would keep out states and answers to pings.
  federationPageRows: 100,
  federationCreditFrames: 256,
  federationHandshakeMs: 10_000,
  federationPingMs: 2_000,
  federationFlushMs: 1,
  federationReceiptMs: 2_000,
  // 5 s of envelopes at the sustained rate of 2,000 a second.
  federationMaxAttempts: 10_000,
  federationMaxQueueBytes: 8 * 1_024 * 1_024,
}

export type LimitUnit = 'bytes' | 'ms' | 'count' | 'per second'

/** One limit as flags, documents and tests see it. */
export interface LimitDescription {
  /** Key in `ServerOptions.limits`. */
  readonly name: keyof ServerLimits
  /** Name in `ErrorDetail.limit` and in documents. */
  readonly wireName: string
  readonly defaultValue: number
  readonly unit: LimitUnit
  readonly meaning: string
}

/** Bounds in `Limits` that a server does not apply: they concern peers. */
const NOT_OF_THIS_SERVER = new Set<keyof Limits>(['recordTtlMs', 'maxPendingHandshakes', 'linkOpenMs'])

const MEANINGS: Partial<Record<keyof ServerLimits, string>> = {
  maxMessageBytes: 'payload of one envelope',
  maxRequestBytes: 'body of one request, or of one message of a stream, enforced while it is read',
  maxStateBytes: 'opaque peer state in a membership record',
  minRecordTtlMs: 'shortest ttl of a membership record',
  maxRecordTtlMs: 'longest ttl of a membership record',
  clockSkewMs: 'how far the dates of a record may be off',
  challengeTtlMs: 'how long a challenge may be answered, once',
  tokenTtlMs: 'how long a token is good; no stream outlives it',
  leaseMs: 'how long a session lives without a stream',
  heartbeatMs: 'a heartbeat comes this often on every stream',
  deadAfterMs: 'a reader or connection that shows no sign of life for this long is closed',
  maxTopicsPerSession: 'topics one session may be a member of',
  maxStreamsPerSession: 'concurrent Subscribe and Exchange streams of one session',
  maxMembersPerJoin: 'members returned by one Join and told about later; a random sample when there are more',
  maxMembersPerTopic: 'members of one topic',
  joinsPerSecond: 'Join and Leave calls of one session, sustained',
  joinsBurst: 'Join and Leave calls of one session, at once',
  messagesPerSecond: 'envelopes of one session, sustained',
  messagesBurst: 'envelopes of one session, at once',
  pairMessagesPerSecond: 'envelopes from one peer to one other, sustained',
  pairMessagesBurst: 'envelopes from one peer to one other, at once',
  maxHeldMessages: 'envelopes held for one absent recipient, beside those that its last session left unread',
  maxHoldMs: 'longest ttl of a held envelope',
  openSessionsPerSecond: 'OpenSession calls from one IPv4 address or IPv6 /64, sustained',
  openSessionsBurst: 'OpenSession calls from one IPv4 address or IPv6 /64, at once',
  maxStreamQueueBytes: 'bytes waiting for one stream before it is closed as a slow reader (resumable)',
  replayMaxEvents: 'events kept for a resuming stream',
  replayMaxBytes: 'bytes kept for a resuming stream',
  replayMaxAgeMs: 'age of events kept for a resuming stream',
  unauthenticatedMs: 'a connection without an authenticated call is closed after this',
  httpHeaderMs: 'HTTP/1.1: time to send the headers',
  httpRequestMs: 'HTTP/1.1: time to send a whole request',
  http2MaxStreams: 'HTTP/2: concurrent streams of one connection',
  http2MaxHeaderBytes: 'size of one header list',
  http2BodyMs: 'time to send the body of a request, absolute',
  maxSessions: 'live sessions',
  lookupsPerSecond: 'Lookup calls of one session, sustained',
  lookupsBurst: 'Lookup calls of one session, at once',
  maxLookupPage: 'members on one page of Lookup',
  turnCredentialTtlMs: 'how long TURN credentials are good',
  maxEnvelopesPerRequest: 'envelopes in one SendMessage, or in one message of Exchange',
  takeoverMs: 'time for a new session to join the topics of the session it replaced',
  maxHeldBytes: 'bytes of all held envelopes',
  duplicateWindow: 'envelope ids remembered per peer to drop duplicates',
  maxUsedChallenges: 'used challenges remembered until they expire',
  maxTrackedAddresses: 'addresses whose OpenSession quota is remembered',
  maxConnections: 'open TCP connections',
  streamEndMs: 'time for an ended stream to take its last notice',
  http2ResetBurst: 'HTTP/2: streams a client may reset at once',
  http2ResetsPerSecond: 'HTTP/2: streams a client may reset, sustained',
  http2PingMs: 'HTTP/2: interval of the server’s pings',
  maxHealthWatches: 'health Watch streams',
  federationRecordsPerSecond: 'rows that one federated server may log, sustained',
  federationRecordsBurst: 'rows that one federated server may log, at once',
  federationMessagesPerSecond: 'envelopes that one federated server may send, sustained',
  federationMessagesBurst: 'envelopes that one federated server may send, at once',
  federationMaxRequestBytes: 'one message of a Replicate stream, enforced while it is read',
  federationMaxRows: 'rows of one federated server',
  federationSnapshotsPerSecond: 'snapshots that one federated server may begin to send, sustained',
  federationSnapshotsBurst: 'snapshots that one federated server may begin to send, at once',
  federationEpochsBurst: 'starts of one federated server that are believed at once; one more for every lease',
  federationMaxServers: 'federated servers, connected or remembered',
  federationLeaseMs: 'how long this server’s rows stay visible at others without a word from it',
  federationMaxLeaseMs: 'longest lease another server may ask for',
  federationStateMs: 'interval of the state that keeps this server’s rows alive at others',
  federationHiddenMs: 'how long rows of a silent server are kept, hidden, for a cheap return',
  federationEpochMemoryMs: 'how long the epoch of a server is remembered after its rows were dropped',
  federationPauseGraceMs: 'wait before others are judged silent, after this process was paused itself',
  federationLogRows: 'entries kept of this server’s log; a server further behind gets a snapshot',
  federationPageRows: 'rows in one frame between servers',
  federationCreditFrames: 'frames a federated server may send before it needs credit',
  federationHandshakeMs: 'time for a Replicate stream to prove itself',
  federationPingMs: 'HTTP/2 ping interval between servers',
  federationFlushMs: 'longest wait of a frame between servers for others to travel with it',
  federationReceiptMs: 'time for a receipt, after which the next home is tried',
  federationMaxAttempts: 'envelopes on their way to one federated server',
  federationMaxQueueBytes: 'bytes waiting for one Replicate stream',
}

/** Every limit a server applies, in the order of documents. Flags, documents and tests are made from this table. */
export const serverLimits: readonly LimitDescription[] = (Object.keys(DEFAULT_SERVER_LIMITS) as (keyof ServerLimits)[])
  .filter((name) => !NOT_OF_THIS_SERVER.has(name as keyof Limits))
  .map((name) => ({
    name,
    wireName: serverLimitWireName(name),
    defaultValue: DEFAULT_SERVER_LIMITS[name],
    unit: unitOf(name),
    meaning: MEANINGS[name] ?? '',
  }))

/** The name of a limit on the wire and in documents: `max_message_bytes`. */
export function serverLimitWireName(name: keyof ServerLimits): string {
  return limitWireName(name as keyof Limits)
}

/** The LIMIT_EXCEEDED error for a limit of this server. */
export function limitError(
  name: keyof ServerLimits,
  limitValue: number,
  found: { value?: number | bigint; retryAfterMs?: number; retryable?: boolean } = {},
): MeshError {
  const limit = serverLimitWireName(name)
  const value = found.value === undefined ? '' : `, found ${found.value}`
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, `over the limit ${limit}: ${limitValue}${value}`, {
    limit,
    limitValue: Math.trunc(limitValue),
    ...found,
    ...(typeof found.value === 'number' ? { value: Math.trunc(found.value) } : {}),
  })
}

/**
 * The defaults with `overrides` in place.
 * @throws MeshError CONFIGURATION when a name is unknown or a value is not a positive safe integer.
 */
export function resolveLimits(overrides: Partial<ServerLimits> = {}): ServerLimits {
  for (const [name, value] of Object.entries(overrides)) {
    if (!(name in DEFAULT_SERVER_LIMITS)) {
      throw new MeshError(ErrorReason.CONFIGURATION, `there is no limit "${name}"; see serverLimits for the names`)
    }
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new MeshError(
        ErrorReason.CONFIGURATION,
        `limit "${name}" must be a whole number of at least 1, got ${value}`,
      )
    }
  }
  return { ...DEFAULT_SERVER_LIMITS, ...overrides }
}

function unitOf(name: keyof ServerLimits): LimitUnit {
  if (name.endsWith('Ms')) return 'ms'
  if (name.endsWith('Bytes')) return 'bytes'
  return name.endsWith('PerSecond') ? 'per second' : 'count'
}
