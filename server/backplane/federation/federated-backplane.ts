import {
  type Clock,
  type MeshError,
  type Random,
  type SigningKey,
  signStatement,
  type Timer,
  type VerifiedRecord,
} from '@mesh/core'
import { Channel } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../byte-key.ts'
import type { RecordResult, TopicChange } from '../../directory/directory.ts'
import type { MemoryDirectory } from '../../directory/memory-directory.ts'
import type { ServerLimits } from '../../limits/server-limits.ts'
import type { FederationStatus, OriginStatus } from '../../ops/federation-status.ts'
import type { Logger } from '../../ops/log.ts'
import type {
  Arrival,
  Backplane,
  Departure,
  EnvelopeTaker,
  MembersView,
  RemoteDelivery,
  RoutedEnvelope,
} from '../backplane.ts'
import { LocalBackplane } from '../local-backplane.ts'
import type { FederationChannel } from './channel.ts'
import type { FederationOptions } from './federation-options.ts'
import type { Home } from './home.ts'
import { Replication } from './replication/replication.ts'
import type { ReplicationOptions } from './replication/replication-options.ts'
import { Routing } from './routing/routing.ts'
import { Neighbours } from './trunk/neighbours.ts'
import type { Trunk } from './trunk/trunk.ts'

export interface FederatedBackplaneOptions {
  /** The memberships of this server's own peers. */
  readonly directory: MemoryDirectory
  readonly key: SigningKey
  readonly federation: FederationOptions
  readonly trunk: Trunk
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly random: Random
  readonly verify: ReplicationOptions['verify']
  readonly log: Logger
  /** Another server was refused, or refused this one. */
  readonly onRefused?: (error: MeshError) => void
  /** An envelope crossed between servers: what became of one that was sent, or that one came. */
  readonly onEnvelope?: (outcome: 'delivered' | 'held' | 'absent' | 'received') => void
}

/**
 * The backplane of a server that works with others. It only connects four machines, each of which is described where it is:
 *
 *  - the directory of this server's own peers (`LocalBackplane`), whose changes become
 *  - the log that others replicate, and with their logs the set of members that everybody sees (`Replication`);
 *  - the way of an envelope to a peer of another server (`Routing`);
 *  - the streams that carry both (`Neighbours`, over a `Trunk`).
 */
export class FederatedBackplane implements Backplane {
  readonly #options: FederatedBackplaneOptions
  readonly #own: LocalBackplane
  readonly #replication: Replication
  readonly #routing: Routing
  readonly #neighbours: Neighbours
  readonly #watchers = new Set<(change: TopicChange) => void>()
  #taker: EnvelopeTaker | undefined
  #onLapsed: (departure: Departure) => void = () => {}
  #onOutranked: (peer: ByteKey, order: bigint) => void = () => {}
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #closed = false

  constructor(options: FederatedBackplaneOptions) {
    this.#options = options
    const { directory, key, federation, limits, clock, random, log } = options
    this.#own = new LocalBackplane(directory, clock)
    this.#replication = this.#createReplication()
    this.#routing = new Routing({
      self: byteKey(key.publicKey),
      limits,
      clock,
      random,
      homesOf: (topicKey, peer) => this.#replication.homesOf(topicKey, peer),
      deliver: (envelope) => this.#receive(envelope),
      wake: (server) => this.#neighbours.wake(Channel.MESSAGES, server),
      onOutcome: (outcome) => options.onEnvelope?.(outcomeOf(outcome)),
    })
    this.#neighbours = new Neighbours({
      key,
      realm: federation.realm,
      addresses: federation.servers,
      allowed: new Set((federation.allowed ?? []).map(byteKey)),
      hello: () => this.#replication.hello(),
      channels: { directory: this.#ticking(this.#replication), messages: this.#routing },
      trunk: options.trunk,
      limits,
      clock,
      random,
      log,
      verify: options.verify,
      onRefused: (error) => options.onRefused?.(error),
    })
    this.#own.watch((change) => this.#replication.ownChange(change))
    this.#own.onLapsed((departure) => this.#lapsed(departure))
  }

  /** Starts to call the other servers and to take their calls. */
  start(): void {
    this.#neighbours.start()
    this.#arm()
  }

  get members(): MembersView {
    return this.#replication.members
  }

  get isCatchingUp(): boolean {
    return this.#replication.isCatchingUp
  }

  announce(record: VerifiedRecord): RecordResult {
    const refusal = this.#replication.refusalOf(record)
    if (refusal !== undefined) return this.#seen(record, { revision: 0n, change: undefined, refusal })
    return this.#seen(record, this.#own.announce(record))
  }

  leave(record: VerifiedRecord): RecordResult {
    return this.#seen(record, this.#own.leave(record))
  }

  withdraw(topicKey: ByteKey, peer: ByteKey, sessionId: Uint8Array, reason: DepartureReason): void {
    this.#own.withdraw(topicKey, peer, sessionId, reason)
    this.#arm()
  }

  watch(listener: (change: TopicChange) => void): () => void {
    this.#watchers.add(listener)
    return () => this.#watchers.delete(listener)
  }

  ownSessionOf(topicKey: ByteKey, peer: ByteKey): ByteKey | undefined {
    return this.#options.directory.sessionOf(topicKey, peer)
  }

  onEnvelope(taker: EnvelopeTaker): void {
    this.#taker = taker
  }

  onLapsed(listener: (departure: Departure) => void): void {
    this.#onLapsed = listener
  }

  onOutranked(listener: (peer: ByteKey, order: bigint) => void): void {
    this.#onOutranked = listener
  }

  send(envelope: RoutedEnvelope, settled: (delivery: RemoteDelivery) => void): boolean {
    return this.#routing.send(envelope, settled)
  }

  /** How this server stands in its federation now, for people and metrics. */
  status(): FederationStatus {
    const { key, federation } = this.#options
    const neighbours = this.#neighbours.status()
    return { realm: federation.realm, key: key.publicKey, origins: this.origins(), neighbours }
  }

  /** What is held of every origin, this server itself first. */
  origins(): OriginStatus[] {
    return this.#replication.origins()
  }

  /** Where the peer can be reached, newest session first. */
  homesOf(topicKey: ByteKey, peer: ByteKey): readonly Home[] {
    return this.#replication.homesOf(topicKey, peer)
  }

  /** What is held that could grow: entries of the own log, envelopes on their way. */
  get held(): { readonly logRows: number; readonly attempts: number } {
    return { logRows: this.#replication.logRows, attempts: this.#routing.attempts }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#watchers.clear()
    await this.#own.close()
    await this.#neighbours.close()
    this.#routing.close()
  }

  #createReplication(): Replication {
    const { key, federation, limits, clock, random, verify } = this.#options
    return new Replication({
      self: key.publicKey,
      servers: [...federation.servers.map((server) => server.key), ...(federation.allowed ?? [])],
      limits,
      random,
      verify,
      startWallMs: clock.wallMs(),
      now: () => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() }),
      watched: (topicKey) => this.#watches(topicKey),
      sign: (state) => void this.#sign(state),
      effects: {
        changed: (change) => this.#emit(change),
        wake: (server) => this.#neighbours.wake(Channel.DIRECTORY, server),
        refuse: (server, error) => this.#neighbours.refuse(server, error),
        // The next Hello asks for it.
        epochChanged: () => {},
        outranked: (_topicKey, peer, { order }) => this.#onOutranked(peer, order),
      },
    })
  }

  /** Whether somebody here must hear of the topic's members: one of them, or a message that waits for one. */
  #watches(topicKey: ByteKey): boolean {
    if (this.#options.directory.memberCount(topicKey) > 0) return true
    return this.#taker?.awaits(topicKey) === true || this.#routing.awaits(topicKey)
  }

  async #sign(state: Uint8Array): Promise<void> {
    const signature = await signStatement(this.#options.key, 'origin-state', state)
    if (!this.#closed) this.#replication.signed(state, signature)
  }

  #receive(envelope: RoutedEnvelope): Arrival {
    this.#options.onEnvelope?.('received')
    return this.#taker?.receive(envelope) ?? 'absent'
  }

  #emit(change: TopicChange): void {
    for (const watcher of this.#watchers) watcher(change)
    this.#routing.homesChanged(change.topicKey, change.peer)
  }

  /** Told with the revision that everybody here sees. */
  #lapsed(departure: Departure): void {
    this.#onLapsed({ ...departure, revision: this.#replication.revisionOf(departure.topicKey) })
  }

  /** The result of a record of an own peer, with the revision that everybody here sees. */
  #seen({ record }: VerifiedRecord, result: RecordResult): RecordResult {
    this.#arm()
    return { ...result, revision: this.#replication.revisionOf(byteKey(record.topic)) }
  }

  /** The directory channel; whatever comes in may move the time at which replication has something to do. */
  #ticking(channel: FederationChannel): FederationChannel {
    return {
      up: (neighbour) => {
        channel.up(neighbour)
        this.#arm()
      },
      receive: (server, frame) => {
        channel.receive(server, frame)
        this.#arm()
      },
      next: (server) => channel.next(server),
      down: (server, error) => {
        channel.down(server, error)
        this.#arm()
      },
    }
  }

  /** One timer, at the earliest deadline. One that moved later lets it fire once for nothing. */
  #arm(): void {
    const { clock } = this.#options
    const nextMs = this.#replication.nextDeadlineMs
    if (this.#closed || nextMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = nextMs
    this.#timer = clock.schedule(Math.max(0, nextMs - clock.monotonicMs()), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.#replication.tick()
      this.#arm()
    })
  }
}

function outcomeOf(delivery: RemoteDelivery): 'delivered' | 'held' | 'absent' {
  return delivery === 'delivered' || delivery === 'held' ? delivery : 'absent'
}
