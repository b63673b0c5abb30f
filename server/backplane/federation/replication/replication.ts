import { create, fromBinary } from '@bufbuild/protobuf'
import { type Ed25519VerifySync, ErrorReason, MeshError, type Random, type VerifiedRecord } from '@mesh/core'
import {
  type Frame,
  type OriginPosition,
  OriginPositionSchema,
  type OriginState,
  OriginStateSchema,
  type Pull,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../byte-key.ts'
import type { Instant, TopicChange } from '../../../directory/directory.ts'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import type { OriginStatus } from '../../../ops/federation-status.ts'
import type { FederationChannel, Neighbour } from '../channel.ts'
import type { Home } from '../home.ts'
import { canHaveBeenOwn } from './log/own-epoch.ts'
import { Outbox } from './outbox.ts'
import { OwnOrigin } from './own-origin.ts'
import { PauseWatch } from './pause-watch.ts'
import { Relays } from './relay/relays.ts'
import { Replica } from './replica/replica.ts'
import { RowIntake } from './replica/row-intake.ts'
import { RowStore } from './table/row-store.ts'
import { SlotLists } from './table/slot-lists.ts'
import { Candidates } from './visible/candidates.ts'
import { Departures, withholds } from './visible/departures.ts'
import { Members } from './visible/members.ts'
import { VisibleSet } from './visible/visible-set.ts'

/** What replication makes happen. Called synchronously, from within the method that caused it. */
export interface ReplicationEffects {
  /** The visible set changed: what a watcher of the backplane hears. Only of topics that are `watched`, and of own peers. */
  changed(change: TopicChange): void
  /** `next(server)` may have a frame. Not repeated until `next` has answered undefined. */
  wake(server: ByteKey): void
  /** A server did something that ends its stream: tell it why, and close. */
  refuse(server: ByteKey, error: MeshError): void
  /** Another incarnation of this server was ahead: Hello must say the new epoch from now on. */
  epochChanged(epoch: bigint): void
  /** A verified record of a peer that is joined here too comes from a newer session of it, at another server. */
  outranked(topicKey: ByteKey, peer: ByteKey, home: Home): void
}

export interface ReplicationOptions {
  /** Ed25519 public key of this server. */
  readonly self: Uint8Array
  readonly limits: ServerLimits
  readonly random: Random
  /** Native Ed25519, in place. */
  readonly verify: Ed25519VerifySync
  /** Unix time at which this process started. */
  readonly startWallMs: number
  readonly now: () => Instant
  readonly effects: ReplicationEffects
  /** Whether somebody here looks at the topic now. Records of other topics are verified when somebody does. */
  readonly watched: (topicKey: ByteKey) => boolean
  /** Keys of the servers that this one works with. What cannot be heard of them directly is asked for through others. */
  readonly servers?: readonly Uint8Array[]
  /**
   * Signs a state of this server (statement "origin-state"), so that it can travel through others; the answer goes to
   * `signed`. Without it this server's rows reach only those that it has a stream with.
   */
  readonly sign?: (state: Uint8Array) => void
}

/** Departures that are remembered, of about 300 bytes each when they are signed. */
const MAX_DEPARTURES = 65_536

/** The replicated directory of one server. */
export class Replication implements FederationChannel {
  readonly members: Members
  readonly #options: ReplicationOptions
  readonly #self: ByteKey
  readonly #store: RowStore
  readonly #departures: Departures
  readonly #candidates: Candidates
  readonly #visible: VisibleSet
  readonly #own: OwnOrigin
  readonly #rows: RowIntake
  readonly #replicas = new Map<ByteKey, Replica>()
  /** By server that a stream is open with. */
  readonly #outboxes = new Map<ByteKey, Outbox>()
  readonly #pauses: PauseWatch
  readonly #relays: Relays
  /** Servers that are never forgotten. */
  readonly #expected: ReadonlySet<ByteKey>
  /** Origins that turned out to pass on what their peers did not sign; judged when the method that found it ends. */
  readonly #forgers = new Map<ByteKey, MeshError>()
  #nextStateMs: number
  #lastSnapshotId = 0n
  #bumpedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: ReplicationOptions) {
    const { self, limits, random, verify, startWallMs, now, effects, watched } = options
    this.#options = options
    this.#self = byteKey(self)
    this.#store = new RowStore(random)
    const store = this.#store
    const shown = new SlotLists()
    const departures = new Departures({
      maxDepartures: MAX_DEPARTURES,
      keepMs: limits.maxRecordTtlMs,
    })
    this.#departures = departures
    const onForged = (home: ByteKey, error: MeshError): unknown => this.#forgers.set(home, error)
    const candidates = new Candidates({ store, departures, verify, clockSkewMs: limits.clockSkewMs, onForged })
    this.#candidates = candidates
    const { changed, outranked } = effects
    const visible = new VisibleSet({
      self: this.#self,
      store,
      candidates,
      departures,
      shown,
      startWallMs,
      now,
      watched,
      changed,
      outranked,
    })
    this.#visible = visible
    this.members = new Members({ store, candidates, departures, shown, random })
    const isAwaited = (): boolean =>
      [...this.#outboxes.values()].some(({ cursor }) => cursor.isCatchingUp(limits.federationLogRows))
    this.#own = new OwnOrigin({ self, store, visible, limits, random, startWallMs, isAwaited })
    this.#rows = new RowIntake({ store, visible, limits, nowWallMs: () => now().wallMs })
    this.#relays = new Relays({
      replicas: this.#replicas,
      outboxes: this.#outboxes,
      store,
      rows: this.#rows,
      limits,
      verify,
      nowMs: () => this.#nowMs(),
      wake: (server) => this.#wake(server),
    })
    this.#expected = new Set(options.servers?.map(byteKey))
    for (const server of this.#expected) if (server !== this.#self) this.#replicaOf(server)
    this.#nextStateMs = this.#nowMs()
    this.#pauses = new PauseWatch(this.#nextStateMs, limits.federationStateMs / 2)
  }

  /** The own directory changed: published to the others, and shown here, before this returns. */
  ownChange(change: TopicChange): void {
    this.#own.change(change)
    for (const server of this.#outboxes.keys()) this.#wake(server)
    this.#judgeForgers()
  }

  /** RECORD_STALE when a departure that was signed for another home of the peer forbids this record of an own peer. */
  refusalOf({ record }: VerifiedRecord): MeshError | undefined {
    const [topicKey, peer] = [byteKey(record.topic), byteKey(record.peerKey)]
    const leave = this.#departures.leave(topicKey, peer)
    if (leave === undefined || !withholds(leave, this.#self, record.seq, record.sessionOrder)) return undefined
    if (!this.#candidates.isGenuineLeave(leave, topicKey, peer)) return undefined
    const what = `a LEAVE with seq ${leave.seq} is known from another server; sign a higher seq`
    return new MeshError(ErrorReason.RECORD_STALE, what, { value: leave.seq })
  }

  up(neighbour: Neighbour): void {
    const { server } = neighbour
    const { limits } = this.#options
    const nowMs = (): number => this.#nowMs()
    const snapshotId = (): bigint => ++this.#lastSnapshotId
    this.#outboxes.get(server)?.close()
    const outbox = new Outbox({ neighbour, own: this.#own, limits, nowMs, snapshotId })
    this.#outboxes.set(server, outbox)
    this.#replicaOf(server)?.connected()
    this.#relays.up(server)
    const held = neighbour.have.find(({ origin }) => byteKey(origin) === this.#self)
    this.#serve(outbox, held?.epoch ?? 0n, held?.seq ?? 0n)
  }

  receive(server: ByteKey, { frame }: Frame): void {
    switch (frame.case) {
      case 'originState':
        this.#receiveState(server, frame.value)
        break
      case 'rows':
        if (byteKey(frame.value.origin) !== server) this.#relays.receiveRows(server, frame.value)
        else this.#replicas.get(server)?.receiveRows(frame.value)
        break
      case 'pull':
        this.#receivePull(server, frame.value)
        break
      case 'interest':
        if (!frame.value.all) throw new MeshError(ErrorReason.NOT_SUPPORTED, 'within a realm all topics are replicated')
        break
      default:
        throw new MeshError(ErrorReason.INVALID_ARGUMENT, `a frame "${frame.case}" is not for the directory`)
    }
    this.#judgeForgers()
  }

  next(server: ByteKey): Frame | undefined {
    return this.#outboxes.get(server)?.next()
  }

  down(server: ByteKey, _error: MeshError | undefined): void {
    this.#outboxes.get(server)?.close()
    this.#outboxes.delete(server)
    this.#replicas.get(server)?.disconnected()
    this.#relays.down(server)
  }

  /** The signature that `sign` was asked for: 64 bytes, over exactly that state. */
  signed(state: Uint8Array, signature: Uint8Array): void {
    const signed = create(SignedStatementSchema, { statement: state, signature })
    const message = create(OriginStateSchema, { ...fromBinary(OriginStateSchema, state), signed })
    if (message.epoch !== this.#own.epoch) return
    for (const [server, outbox] of this.#outboxes) {
      outbox.signedState(message)
      this.#wake(server)
    }
  }

  /** Does what is due. Call it at `nextDeadlineMs`; too early does nothing, too late is noticed as a pause of this process. */
  tick(): void {
    const { limits } = this.#options
    const nowMs = this.#nowMs()
    if (nowMs >= this.#nextStateMs) {
      this.#nextStateMs = nowMs + limits.federationStateMs
      for (const outbox of this.#outboxes.values()) outbox.stateDue()
      for (const server of this.#outboxes.keys()) this.#wake(server)
      if (this.#outboxes.size > 0) this.#options.sign?.(this.#own.stateBytes(limits.federationLeaseMs))
    }
    if (this.#pauses.wasPaused(nowMs, this.#nextStateMs)) {
      for (const replica of this.#replicas.values()) replica.grantGrace(limits.federationPauseGraceMs)
    }
    for (const [server, replica] of this.#replicas) {
      if (!replica.tick() && !this.#outboxes.has(server) && !this.#expected.has(server)) this.#replicas.delete(server)
    }
    for (const [server, { dueMs }] of this.#outboxes) if (dueMs <= nowMs) this.#wake(server)
    this.#relays.tick()
    this.#departures.expire(nowMs)
    this.#judgeForgers()
  }

  /** Monotonic time at which `tick` has something to do. Ask again after every call of a method. */
  get nextDeadlineMs(): number {
    if (this.#forgers.size > 0) return this.#nowMs()
    const replicasMs = [...this.#replicas.values()].map(({ dueMs }) => dueMs)
    const outboxesMs = [...this.#outboxes.values()].map(({ dueMs }) => dueMs)
    return Math.min(this.#nextStateMs, ...replicasMs, ...outboxesMs)
  }

  /** What this server says about itself and what it holds when it opens a stream. */
  hello(): { epoch: bigint; have: OriginPosition[] } {
    const have: OriginPosition[] = []
    for (const { origin, position } of this.#replicas.values()) {
      if (position.epoch > 0n) have.push(create(OriginPositionSchema, { origin: bytesOfKey(origin), ...position }))
    }
    return { epoch: this.#own.epoch, have }
  }

  /** Where the peer can be reached, newest session first. Empty when it is not a member. */
  homesOf(topicKey: ByteKey, peer: ByteKey): readonly Home[] {
    return this.members.homesOf(topicKey, peer)
  }

  /** Revision of the topic in the visible set. */
  revisionOf(_topicKey: ByteKey): bigint {
    return this.#visible.revision
  }

  /** Every origin with rows, the own one first. */
  origins(): OriginStatus[] {
    const { self } = this.#options
    const { epoch, log, rows, digest } = this.#own
    const own = {
      key: self,
      epoch,
      seq: log.head,
      head: log.head,
      rows,
      digest,
      state: 'live',
      msSinceState: 0,
    } as const
    const replicas = [...this.#replicas.values()].map(({ status }) => status)
    return [own, ...replicas.filter((status) => status !== undefined)]
  }

  /** Entries of the own log that are kept. */
  get logRows(): number {
    return this.#own.log.length
  }

  /** The replica of an origin, made if there is room for one more. */
  #replicaOf(origin: ByteKey): Replica | undefined {
    const known = this.#replicas.get(origin)
    if (known !== undefined) return known
    const { limits, effects } = this.#options
    if (this.#replicas.size >= limits.federationMaxServers && !this.#forgetOldest()) {
      const most = limits.federationMaxServers
      effects.refuse(origin, limitError('federationMaxServers', most, { value: most + 1 }))
      return undefined
    }
    const replica = new Replica({
      origin,
      store: this.#store,
      visible: this.#visible,
      rows: this.#rows,
      limits,
      now: this.#options.now,
      pull: (epoch, seq) => this.#pull(origin, epoch, seq),
    })
    this.#replicas.set(origin, replica)
    return replica
  }

  /** Forgets an origin without rows and without a stream. */
  #forgetOldest(): boolean {
    for (const [origin, replica] of this.#replicas) {
      if (!replica.isEmpty || this.#outboxes.has(origin)) continue
      replica.forget()
      return this.#replicas.delete(origin)
    }
    return false
  }

  #receiveState(server: ByteKey, state: OriginState): void {
    if (byteKey(state.origin) !== server) {
      this.#relays.receiveState(server, state)
      return
    }
    this.#replicas.get(server)?.receiveState(state)
    this.#relays.receiveSigned(server, state)
  }

  #receivePull(server: ByteKey, { after }: Pull): void {
    const outbox = this.#outboxes.get(server)
    if (after === undefined || outbox === undefined)
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'a Pull says after what')
    if (byteKey(after.origin) !== this.#self) {
      this.#relays.receivePull(server, after)
      return
    }
    this.#serve(outbox, after.epoch, after.seq)
    this.#wake(server)
  }

  /** Sends what follows what another server holds of this one's log; that can be more than this process wrote. */
  #serve(outbox: Outbox, epoch: bigint, seq: bigint): void {
    const isAhead = epoch > this.#own.epoch || (epoch === this.#own.epoch && seq > this.#own.log.head)
    if (isAhead) this.#rise(epoch)
    outbox.cursor.seek(epoch, seq)
  }

  /** Another incarnation of this server was in epoch `past`: goes on above it. */
  #rise(past: bigint): void {
    const { limits, now, effects } = this.#options
    if (!canHaveBeenOwn(past, now().wallMs)) {
      throw new MeshError(ErrorReason.EPOCH_STALE, `this server never was in epoch ${past}`, { value: past })
    }
    // Whoever claims one epoch after the other cannot make everybody replicate this server all the time.
    if (this.#nowMs() < this.#bumpedAtMs + limits.federationStateMs) return
    this.#bumpedAtMs = this.#nowMs()
    this.#own.startEpochAbove(past)
    effects.epochChanged(this.#own.epoch)
    for (const [server, outbox] of this.#outboxes) {
      outbox.stateDue()
      this.#wake(server)
    }
  }

  #pull(origin: ByteKey, epoch: bigint, seq: bigint): void {
    this.#outboxes.get(origin)?.pull(origin, epoch, seq)
    this.#wake(origin)
  }

  #judgeForgers(): void {
    for (const [home, error] of this.#forgers) {
      this.#forgers.delete(home)
      this.#replicas.get(home)?.condemn(error)
      this.#options.effects.refuse(home, error)
    }
  }

  #wake(server: ByteKey): void {
    const outbox = this.#outboxes.get(server)
    if (outbox === undefined || outbox.isAsking) return
    outbox.isAsking = true
    this.#options.effects.wake(server)
  }

  #nowMs(): number {
    return this.#options.now().monotonicMs
  }
}
