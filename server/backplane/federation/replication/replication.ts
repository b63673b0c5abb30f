import { create, fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type VerifiedRecord } from '@mesh/core'
import {
  type Frame,
  type OriginPosition,
  OriginPositionSchema,
  type OriginState,
  OriginStateSchema,
  type Pull,
  type Rows,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { SignedStatementSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../byte-key.ts'
import type { TopicChange } from '../../../directory/directory.ts'
import { limitError } from '../../../limits/server-limits.ts'
import type { OriginStatus } from '../../../ops/federation-status.ts'
import type { FederationChannel, Neighbour } from '../channel.ts'
import type { Home } from '../home.ts'
import { canHaveBeenOwn } from './log/own-epoch.ts'
import { Outbox } from './outbox.ts'
import { OwnOrigin } from './own-origin.ts'
import { PauseWatch } from './pause-watch.ts'
import { Relays } from './relay/relays.ts'
import { Replicas } from './replica/replicas.ts'
import { RowIntake } from './replica/row-intake.ts'
import type { ReplicationOptions } from './replication-options.ts'
import { assembleVisibleSet } from './visible/assemble.ts'
import type { Departures } from './visible/departures.ts'
import type { Members } from './visible/members.ts'
import type { VisibleSet } from './visible/visible-set.ts'

/**
 * The replicated directory of one server: a state machine, told what happens and the time, that answers with effects.
 *
 * Every server is the only writer of its own peers' memberships, its *rows*. It keeps them as a log, named by its key
 * (the *origin*), an epoch, one per boot, and a seq. Every other server holds a *replica*: a table that it gets as entries of
 * the log, in order, or as a snapshot when it is too far behind. What is seen of a topic is the union of all tables.
 *
 *  1. `ownChange` enters a change of the own directory into the own table and log (`own-origin.ts`, `log/`).
 *  2. `up`, `receive`, `next`, `down` are the streams with other servers. Frames are made when they are asked for (`outbox.ts`).
 *  3. What comes in goes to the replica of its origin (`replica/`), or, through a third server, first to a place where the
 *     origin's signature has to vouch for it (`relay/`).
 *  4. Whatever a table says passes through the visible set (`visible/`), which tells the difference.
 *  5. About once a second an origin says how it stands. That keeps its rows alive everywhere, for a lease; `tick` ends what
 *     was not kept alive.
 *
 * What holds at every step (the simulator asserts it; I7, I9, I10 and I12 are about messages, see `routing/`):
 *
 *  I1  Every (origin, epoch, seq) that is held was published by that origin.
 *  I2  A replica's table at a seq is the origin's at that seq: a state's digest says so, and a snapshot mends it.
 *  I3  (epoch, seq) of an origin never goes back here; it is remembered longer than the rows.
 *  I4  No row is shown longer after its end than lease, state interval and one grace for a pause together.
 *  I5  When faults end, every server shows the union of the live origins, but for what a signed LEAVE withholds.
 *  I6  `joined` and `left` alternate for each peer in a watched topic, and fold to what is shown.
 *  I8  Log, rows, departures, origins and everything in between are bounded; who goes over a limit is told which.
 *  I11 A LEAVE in a log withholds what other homes have of its peer, up to its session and its seq.
 */
export class Replication implements FederationChannel {
  readonly members: Members
  readonly #options: ReplicationOptions
  readonly #self: ByteKey
  readonly #departures: Departures
  readonly #visible: VisibleSet
  readonly #own: OwnOrigin
  readonly #replicas: Replicas
  /** By server that a stream is open with. */
  readonly #outboxes = new Map<ByteKey, Outbox>()
  readonly #pauses: PauseWatch
  readonly #relays: Relays
  /** Origins that turned out to pass on what their peers did not sign; judged when the method that found it ends. */
  readonly #forgers = new Map<ByteKey, MeshError>()
  #nextStateMs: number
  #lastSnapshotId = 0n
  #bumpedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: ReplicationOptions) {
    const { self, limits, random, verify, startWallMs, now } = options
    this.#options = options
    this.#self = byteKey(self)
    const { store, departures, visible, members } = assembleVisibleSet(options, (home, error) =>
      this.#forgers.set(home, error),
    )
    this.members = members
    this.#departures = departures
    this.#visible = visible
    const isAwaited = (): boolean =>
      [...this.#outboxes.values()].some(({ cursor }) => cursor.isCatchingUp(limits.federationLogRows))
    this.#own = new OwnOrigin({ self, store, visible, limits, random, startWallMs, isAwaited })
    const rows = new RowIntake({ store, visible, limits, nowWallMs: () => now().wallMs })
    this.#replicas = new Replicas({
      shared: { store, visible, rows, limits, now },
      pull: (origin, epoch, seq) => this.#pull(origin, epoch, seq),
      expected: new Set(options.servers?.map(byteKey).filter((server) => server !== this.#self)),
      isConnected: (origin) => this.#outboxes.has(origin),
    })
    this.#relays = new Relays({
      replicas: this.#replicas.all,
      outboxes: this.#outboxes,
      store,
      rows,
      limits,
      verify,
      nowMs: () => this.#nowMs(),
      wake: (server) => this.#wake(server),
    })
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
  refusalOf(record: VerifiedRecord): MeshError | undefined {
    return this.members.refusalOf(record)
  }

  up(neighbour: Neighbour): void {
    const { server } = neighbour
    const { limits } = this.#options
    const nowMs = (): number => this.#nowMs()
    const snapshotId = (): bigint => ++this.#lastSnapshotId
    this.#outboxes.get(server)?.close()
    const outbox = new Outbox({ neighbour, own: this.#own, limits, nowMs, snapshotId })
    this.#outboxes.set(server, outbox)
    this.#replicas.make(server)?.connected()
    if (this.#replicas.get(server) === undefined) {
      const most = limits.federationMaxServers
      this.#options.effects.refuse(server, limitError('federationMaxServers', most, { value: most + 1 }))
    }
    this.#relays.heard(server)
    const held = neighbour.have.find(({ origin }) => byteKey(origin) === this.#self)
    this.#serve(outbox, held?.epoch ?? 0n, held?.seq ?? 0n)
  }

  receive(server: ByteKey, { frame }: Frame): void {
    switch (frame.case) {
      case 'originState':
        this.#receiveState(server, frame.value)
        break
      case 'rows':
        this.#receiveRows(server, frame.value)
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
      this.#replicas.grantGrace(limits.federationPauseGraceMs)
      this.#relays.excuse()
    }
    this.#replicas.tick()
    for (const [server, { dueMs }] of this.#outboxes) if (dueMs <= nowMs) this.#wake(server)
    this.#relays.tick()
    this.#departures.expire(nowMs)
    this.#judgeForgers()
  }

  /** Monotonic time at which `tick` has something to do. Ask again after every call of a method. */
  get nextDeadlineMs(): number {
    if (this.#forgers.size > 0) return this.#nowMs()
    const outboxesMs = [...this.#outboxes.values()].map(({ dueMs }) => dueMs)
    return Math.min(this.#nextStateMs, this.#replicas.dueMs, this.#relays.dueMs, ...outboxesMs)
  }

  /** What this server says about itself and what it holds when it opens a stream. */
  hello(): { epoch: bigint; have: OriginPosition[] } {
    const have: OriginPosition[] = []
    for (const { origin, position } of this.#replicas.all.values()) {
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

  /** Whether rows of a server that is heard, itself or through another one, are still on their way. */
  get isCatchingUp(): boolean {
    return [...this.#replicas.all].some(
      ([origin, { isIncomplete }]) =>
        isIncomplete && (this.#outboxes.has(origin) || this.#relays.viaOf(origin) !== undefined),
    )
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
      via: undefined,
      msSinceState: 0,
    } as const
    const replicas = [...this.#replicas.all.values()].flatMap(({ origin, status }) =>
      status === undefined ? [] : [{ ...status, via: this.#relays.viaOf(origin) }],
    )
    return [own, ...replicas]
  }

  /** Entries of the own log that are kept. */
  get logRows(): number {
    return this.#own.log.length
  }

  #receiveRows(server: ByteKey, rows: Rows): void {
    if (byteKey(rows.origin) !== server) {
      this.#relays.receiveRows(server, rows)
      return
    }
    this.#relays.heard(server)
    this.#replicas.get(server)?.receiveRows(rows)
  }

  #receiveState(server: ByteKey, state: OriginState): void {
    if (byteKey(state.origin) !== server) {
      this.#relays.receiveState(server, state)
      return
    }
    this.#relays.heard(server)
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
    // It asked before it heard of the epoch in which it is being served.
    if (epoch < this.#own.epoch && outbox.cursor.isPlaced) return
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
      outbox.epochChanged()
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
