import { create } from '@bufbuild/protobuf'
import {
  generateSessionKeyPair,
  type Random,
  type SigningKey,
  seededRandom,
  signRecord,
  VirtualClock,
  verifyRecord,
} from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { EnvelopeSchema, type OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { byteKey } from '../../byte-key.ts'
import { createDomain, type Domain } from '../../domain.ts'
import { resolveLimits, type ServerLimits } from '../../limits/server-limits.ts'
import { silentLogger } from '../../ops/log.ts'
import { outgoingEnvelope } from '../../router/envelope.ts'
import type { EnvelopeOutcome } from '../../router/outcome.ts'
import { nodeVerify } from '../../session/node-verify.ts'
import type { Session } from '../../session/session.ts'
import { TestReader } from '../../testing/domain.ts'
import { MemoryNetwork } from '../../testing/memory-trunk.ts'
import { keyBytes } from '../../testing/records.ts'
import { FederatedBackplane } from './federated-backplane.ts'
import { promptKey } from './trunk/trunk.fixture.ts'

/** Where the server with this number is called. */
export const urlOf = (server: number): string => `http://server-${server}.example`

/** Servers that federate over a network in memory: the whole of what a server is, without the calls of clients. */
export class Realm {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly servers: Domain[] = []
  readonly limits: ServerLimits
  readonly #keys: readonly SigningKey[]
  readonly #random: Random = seededRandom(5)
  readonly #backplanes: FederatedBackplane[] = []

  private constructor(keys: readonly SigningKey[], limits: Partial<ServerLimits>) {
    this.#keys = keys
    this.limits = resolveLimits(limits)
    this.clock = new VirtualClock()
    this.network = new MemoryNetwork({ clock: this.clock, delayMs: () => 5 })
    for (const server of keys.keys()) this.start(server)
  }

  static async of(count: number, limits: Partial<ServerLimits> = {}): Promise<Realm> {
    const keys = await Promise.all(Array.from({ length: count }, (_, server) => promptKey(server + 1)))
    const realm = new Realm(keys, limits)
    await realm.clock.advance(3_000)
    return realm
  }

  /** A new process of a server, which holds nothing. */
  start(server: number): void {
    const { clock, limits } = this
    const servers = this.#keys.map(({ publicKey }, other) => ({ key: publicKey, url: urlOf(other) }))
    this.servers[server] = createDomain({
      limits,
      clock,
      random: this.#random,
      backplane: (directory) => {
        const backplane = new FederatedBackplane({
          directory,
          key: this.#keys[server] as SigningKey,
          federation: { realm: 'example', servers: servers.filter((_, other) => other !== server) },
          trunk: this.network.trunk(urlOf(server)),
          limits,
          clock,
          random: this.#random,
          verify: nodeVerify,
          log: silentLogger,
        })
        this.#backplanes[server] = backplane
        return backplane
      },
    })
    this.#backplanes[server]?.start()
  }

  homeKey(server: number): Uint8Array {
    return (this.#keys[server] as SigningKey).publicKey
  }

  /** Envelopes on their way between servers. */
  get underWay(): number {
    return this.#backplanes.reduce((sum, { held }) => sum + held.attempts, 0)
  }

  async close(): Promise<void> {
    for (const domain of this.servers) await domain.close()
  }
}

/** One session of a peer at one server. */
export class PeerAt {
  readonly session: Session
  readonly #realm: Realm
  readonly #server: number
  readonly #key: SigningKey
  #reader: TestReader | undefined

  constructor(realm: Realm, server: number, key: SigningKey, order: bigint) {
    this.#realm = realm
    this.#server = server
    this.#key = key
    this.session = this.#domain.sessions.open(key.publicKey, order)
  }

  /** Joins a topic, with a seq that rises with time and order. */
  async join(topic = 1): Promise<this> {
    const { clock } = this.#realm
    const sessionKeys = await generateSessionKeyPair()
    const signed = await signRecord(this.#key, {
      kind: MembershipKind.JOIN,
      topic: keyBytes(topic),
      sessionId: this.session.id,
      sessionOrder: this.session.order,
      seq: this.session.order * 1_000n + BigInt(Math.floor(clock.wallMs())),
      issuedAtMs: clock.wallMs(),
      ttlMs: 900_000,
      sessionKey: sessionKeys.publicKey,
      homeKey: this.#realm.homeKey(this.#server),
    })
    const record = await verifyRecord(signed, { nowMs: clock.wallMs(), verify: nodeVerify })
    this.#domain.memberships.join(this.session, record, 0)
    this.#domain.router.onJoin(this.session, byteKey(record.record.topic))
    return this
  }

  listen(): this {
    this.#reader = new TestReader(this.session)
    return this
  }

  hangUp(): void {
    this.#reader?.stream.close()
    this.#reader = undefined
  }

  /** First bytes of the messages that came since the last time. */
  messages(): number[] {
    const events = this.#reader?.read() ?? []
    return events.flatMap(({ event }) => (event.case === 'message' ? [event.value.payload[0] as number] : []))
  }

  /** Peers that were said to have left since the last time. */
  departures(): number {
    const events = this.#reader?.read() ?? []
    return events.reduce((sum, { event }) => sum + (event.case === 'members' ? event.value.left.length : 0), 0)
  }

  /** Sends a message; its outcome appears when there is one. */
  send(to: SigningKey, byte: number, ttlMs = 0): { status?: OutcomeStatus; outcome?: EnvelopeOutcome } {
    const envelope = create(EnvelopeSchema, {
      id: seededRandom(byte).bytes(16),
      to: to.publicKey,
      topic: keyBytes(1),
      ttlMs,
      payload: Uint8Array.of(byte),
    })
    const state: { status?: OutcomeStatus; outcome?: EnvelopeOutcome } = {}
    this.#domain.router.route(this.session, outgoingEnvelope(envelope), (outcome) => {
      state.outcome = outcome
      state.status = outcome.status
    })
    return state
  }

  get #domain(): Domain {
    return this.#realm.servers[this.#server] as Domain
  }
}
