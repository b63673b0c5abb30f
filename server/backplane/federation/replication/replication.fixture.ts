import { create, toBinary } from '@bufbuild/protobuf'
import { type Ed25519VerifySync, type MeshError, seededRandom, type VerifiedRecord } from '@mesh/core'
import { type Frame, FrameSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { MembershipKind, MembershipRecordSchema, SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../byte-key.ts'
import type { TopicChange } from '../../../directory/directory.ts'
import { MemoryDirectory } from '../../../directory/memory-directory.ts'
import { resolveLimits, type ServerLimits } from '../../../limits/server-limits.ts'
import { Replication } from './replication.ts'

/** 32 bytes that pass for a topic or a public key: different for each number below 2^24 and each kind. */
export function testKey(number: number, kind = 1): Uint8Array {
  const key = new Uint8Array(32).fill(kind)
  new DataView(key.buffer).setUint32(0, number)
  key[31] = 0x20
  return key
}

export const topicBytes = (number: number): Uint8Array => testKey(number, 2)
export const topicKey = (number: number): ByteKey => byteKey(topicBytes(number))
export const peerBytes = (number: number): Uint8Array => testKey(number, 3)
export const peerKey = (number: number): ByteKey => byteKey(peerBytes(number))
export const serverBytes = (number: number): Uint8Array => testKey(number, 4)
export const serverKey = (number: number): ByteKey => byteKey(serverBytes(number))

const FORGED = 9

/** A signature by anybody; it has the shape of one. */
export function testSignature(mark = 7): Uint8Array {
  const signature = new Uint8Array(64).fill(mark)
  signature[31] = 0x10
  signature[63] = 0
  return signature
}

/** Takes every signature but one that is marked as forged. */
export const testVerify: Ed25519VerifySync = (_key, _message, signature) => signature[0] !== FORGED

export interface TestRecord {
  readonly topic?: number
  readonly peer?: number
  readonly seq?: number
  readonly order?: number
  /** Number of the home server. */
  readonly home?: number
  readonly state?: number
  readonly kind?: MembershipKind
  readonly isForged?: boolean
  readonly ttlMs?: number
  readonly issuedAtMs?: number
}

/** A record of peer 1 in topic 1 at server 1, unless the fields say otherwise. */
export function testRecord(fields: TestRecord = {}): VerifiedRecord {
  const { topic = 1, peer = 1, seq = 1, order = 1, home = 1, state = 0, kind = MembershipKind.JOIN } = fields
  const { ttlMs = 900_000, issuedAtMs = START_WALL_MS, isForged = false } = fields
  const record = create(MembershipRecordSchema, {
    version: 1,
    kind,
    topic: topicBytes(topic),
    peerKey: peerBytes(peer),
    sessionId: testKey(order, 5).subarray(0, 16),
    seq: BigInt(seq),
    issuedAtMs: BigInt(issuedAtMs),
    ttlMs,
    sessionKey: testKey(peer, 6),
    homeKey: serverBytes(home),
    sessionOrder: BigInt(order),
    state: state === 0 ? new Uint8Array() : new Uint8Array(10).fill(state),
  })
  const signature = testSignature(isForged ? FORGED : 7)
  const signed = create(SignedRecordSchema, { record: toBinary(MembershipRecordSchema, record), signature })
  return { record, signed, expiresAtMs: issuedAtMs + ttlMs + 120_000 }
}

export const START_WALL_MS = 1_700_000_000_000

/** The time of all servers of a test. */
export class TestTime {
  monotonicMs = 1_000
  wallMs = START_WALL_MS
}

/** A server without its network: its directory, its replication, and what that said. */
export class TestServer {
  readonly number: number
  readonly key: ByteKey
  readonly time: TestTime
  readonly directory: MemoryDirectory
  readonly replication: Replication
  readonly changes: TopicChange[] = []
  readonly refused: { server: ByteKey; error: MeshError }[] = []
  readonly outranked: { peer: ByteKey; order: bigint }[] = []
  readonly woken = new Set<ByteKey>()
  readonly signed: Uint8Array[] = []
  isWatching = true
  onOutranked: () => void = () => {}

  constructor(number: number, time: TestTime, overrides: Partial<ServerLimits> = {}, wallMs = time.wallMs) {
    const limits = resolveLimits(overrides)
    const random = seededRandom(number + wallMs)
    this.number = number
    this.key = serverKey(number)
    this.time = time
    const { maxMembersPerTopic, clockSkewMs } = limits
    this.directory = new MemoryDirectory({ maxMembersPerTopic, clockSkewMs, random, startWallMs: wallMs })
    this.replication = new Replication({
      self: serverBytes(number),
      limits,
      random,
      verify: testVerify,
      startWallMs: wallMs,
      now: () => time,
      watched: () => this.isWatching,
      servers: [1, 2, 3, 4, 5].map(serverBytes),
      sign: (state) => this.signed.push(state),
      effects: {
        changed: (change) => this.changes.push(change),
        wake: (server) => this.woken.add(server),
        refuse: (server, error) => this.refused.push({ server, error }),
        epochChanged: () => {},
        outranked: (_topicKey, peer, { order }) => {
          this.outranked.push({ peer, order })
          this.onOutranked()
        },
      },
    })
  }

  /** A peer joins here, or says something new. */
  join(fields: TestRecord = {}): void {
    const { change } = this.directory.announce(testRecord({ home: this.number, ...fields }), this.time)
    if (change !== undefined) this.replication.ownChange(change)
  }

  /** A peer leaves, and signs it. */
  leave(fields: TestRecord = {}): void {
    const record = testRecord({ home: this.number, kind: MembershipKind.LEAVE, ...fields })
    const { change } = this.directory.leave(record, this.time)
    if (change !== undefined) this.replication.ownChange(change)
  }

  /** A session ends. */
  withdraw(fields: TestRecord = {}, reason = DepartureReason.EXPIRED): void {
    const { record } = testRecord({ home: this.number, ...fields })
    const [topic, peer] = [byteKey(record.topic), byteKey(record.peerKey)]
    const change = this.directory.withdraw(topic, peer, record.sessionId, reason, this.time)
    if (change !== undefined) this.replication.ownChange(change)
  }

  /** Numbers of the peers that are shown in a topic, sorted. */
  shown(topic = 1): number[] {
    const { records } = this.replication.members.page(topicKey(topic), 0, 1_000_000)
    return records
      .map(({ record }) => new DataView(record.peerKey.buffer, record.peerKey.byteOffset).getUint32(0))
      .sort()
  }

  /** How it stands with an origin. */
  origin(number: number) {
    return this.replication.origins().find(({ key }) => byteKey(key) === serverKey(number))
  }

  /** The kinds of changes since the last call. */
  takeKinds(): string[] {
    return this.changes.splice(0).map(({ kind }) => kind)
  }

  tick(): void {
    this.replication.tick()
  }
}

/** Streams between servers, which carry frames when they are told to. */
export class TestNetwork {
  readonly #servers: readonly TestServer[]
  readonly #links: { from: TestServer; to: TestServer }[] = []
  /** Sees every frame on its way; undefined loses it. */
  tamper: (frame: Frame, from: TestServer, to: TestServer) => Frame | undefined = (frame) => frame
  /** Frames that were carried, by kind. */
  readonly carried = new Map<string, number>()

  constructor(...servers: readonly TestServer[]) {
    this.#servers = servers
  }

  connect(a: TestServer, b: TestServer): void {
    const [helloOfA, helloOfB] = [a.replication.hello(), b.replication.hello()]
    this.#links.push({ from: a, to: b }, { from: b, to: a })
    a.replication.up({ server: b.key, ...helloOfB, limits: NO_LIMITS })
    b.replication.up({ server: a.key, ...helloOfA, limits: NO_LIMITS })
  }

  disconnect(a: TestServer, b: TestServer): void {
    for (const [from, to] of [[a, b] as const, [b, a] as const]) {
      const at = this.#links.findIndex((link) => link.from === from && link.to === to)
      if (at < 0) continue
      this.#links.splice(at, 1)
      from.replication.down(to.key, undefined)
    }
  }

  /** Carries frames until there are none. A server that throws is disconnected, and the error returned. */
  settle(): MeshError[] {
    const errors: MeshError[] = []
    for (let isBusy = true; isBusy; ) {
      isBusy = false
      for (const { replication, signed } of this.#servers) {
        for (const state of signed.splice(0)) replication.signed(state, testSignature())
      }
      for (const { from, to } of [...this.#links]) {
        const frame = from.replication.next(to.key)
        if (frame === undefined) continue
        isBusy = true
        this.carried.set(String(frame.frame.case), (this.carried.get(String(frame.frame.case)) ?? 0) + 1)
        const arrived = this.tamper(create(FrameSchema, frame), from, to)
        if (arrived === undefined) continue
        try {
          to.replication.receive(from.key, arrived)
        } catch (error) {
          errors.push(error as MeshError)
          this.disconnect(from, to)
        }
      }
    }
    return errors
  }

  /** Lets time pass in steps of 100 ms; every server ticks at each, unless it is left out. */
  pass(ms: number, ...paused: TestServer[]): MeshError[] {
    const { time } = this.#servers[0] as TestServer
    const errors: MeshError[] = []
    for (let left = ms; left > 0; left -= 100) {
      time.monotonicMs += Math.min(left, 100)
      time.wallMs += Math.min(left, 100)
      for (const server of this.#servers) if (!paused.includes(server)) server.tick()
      if (paused.length === 0) errors.push(...this.settle())
    }
    return errors
  }
}

const NO_LIMITS = { recordsPerSecond: 0, messagesPerSecond: 0, maxRequestBytes: 0, maxRows: 0n, maxLeaseMs: 0 } as never
