import { ErrorReason, type MeshError } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { TopicChange } from '../../../../server/directory/directory.ts'
import type { SimClient } from '../clients/sim-client.ts'
import type { SimProcess, Step } from '../servers/sim-process.ts'
import type { SimServer } from '../servers/sim-server.ts'
import type { World } from '../world.ts'
import { CatchUpCheck } from './catch-up-check.ts'
import { DetourCheck } from './detour-check.ts'
import { GhostBound } from './ghost-bound.ts'
import { LeaseWatch } from './lease-watch.ts'
import { LeaveCheck } from './leave-check.ts'
import { MessageCheck } from './message-check.ts'
import type { RowFact } from './origin-history.ts'
import { ReplicaCheck } from './replica-check.ts'
import { SpokenLease } from './spoken-lease.ts'
import { VisibleSet } from './visible-set.ts'

/** What is asserted at each process for itself. */
interface ProcessChecks {
  /** Origins whose rows did not all get there, by their indexes. */
  readonly lossy: Set<number>
  readonly replicas: ReplicaCheck
  readonly visible: VisibleSet
  readonly leaves: LeaveCheck
  readonly spoken: SpokenLease
  readonly catchUp: CatchUpCheck
}

/**
 * What federation promises (docs/federation.md), as assertions on the real machines after every step:
 *
 *  I1  every (origin, epoch, seq) held was published by that origin, and every state that counts was made by it
 *  I2  a replica's table at seq s equals the origin's at s, but for what was lost on the way and no state told of yet
 *  I3  (epoch, seq) of an origin never goes back at a replica
 *  I4  no visible row outlives its deletion by more than the ghost bound, or a lease in which no state spoke for it; none goes
 *      before its lease, and none while a third server reaches its origin
 *  I5  after faults stop, every view and every replica equals what the live origins have
 *  I6  JOINED and LEFT alternate per key, revisions rise, and the changes fold to the view, at servers and at clients
 *  I7  DELIVERED implies that the message got to a session of its recipient
 *  I8  the log, the attempts and the queues are bounded, so is what happens at one time, and who keeps to it is not refused
 *  I9  nobody gets a message twice at one server, and an attempt makes one hop, or two through a third server
 *  I10 every send resolves by its TTL, or by the time of two receipts, whichever is sooner
 *  I11 a LEAVE that came in a log takes along what other homes have of that peer, up to its session and its seq
 *  I12 a server waits for rows only while one that it hears has some that it lacks, and only then delivers for who is no member
 */
export class Invariants {
  readonly messages: MessageCheck
  readonly #world: World
  readonly #checks = new WeakMap<SimProcess, ProcessChecks>()
  readonly #leases: LeaseWatch
  readonly #ghosts: GhostBound
  readonly #detours: DetourCheck
  readonly #staying = new Set<SimClient>()
  #closing = false

  constructor(world: World) {
    this.#world = world
    this.#leases = new LeaseWatch(world)
    this.#ghosts = new GhostBound(world, this.#leases)
    this.#detours = new DetourCheck(world)
    this.messages = new MessageCheck(world)
  }

  /** Code of a process ran, and everything came to rest: takes down what it published. Before anybody is checked. */
  noteOwn({ process, origins: [own] }: Step): void {
    const server = this.#world.servers[process.index] as SimServer
    if (own === undefined) return
    const { ended, fault, started } = server.history.note(process.boot, own)
    if (server.history.epochsOf(process.boot) > 1 && started) this.#world.count('epochBumps')
    if (fault !== undefined) this.#broken('I1', process, fault)
    for (const row of ended) this.#ghosts.ended(server, row)
  }

  check(step: Step): void {
    const { process } = step
    this.#leases.check(step)
    const { replicas, visible, leaves, spoken, catchUp } = this.#checksOf(process)
    replicas.check(step)
    visible.check()
    leaves.check(step)
    spoken.check(step)
    catchUp.check()
    this.#detours.check(process)
    this.#checkBounds(process)
  }

  onDelivered(from: number, to: number, frames: readonly Frame[]): void {
    const process = this.#world.servers[to]?.process
    if (process === undefined) return
    this.#leases.onDelivered(process, from, frames)
    const { leaves, spoken, catchUp } = this.#checksOf(process)
    leaves.onDelivered(from, frames)
    spoken.onDelivered(from, frames)
    catchUp.onDelivered(from, frames)
  }

  /** A server does not get all rows of another one, and cannot know before it is told of a digest. */
  onRowsLost(from: number, to: number): void {
    const process = this.#world.servers[to]?.process
    if (process !== undefined) this.#checksOf(process).lossy.add(from)
  }

  /** A server is told of rows of another one that do not come. */
  onRowsHeld(from: number, to: number): void {
    const process = this.#world.servers[to]?.process
    if (process !== undefined) this.#leases.onRowsHeld(process, from)
  }

  onChange(process: SimProcess, change: TopicChange): void {
    this.#checksOf(process).visible.onChange(change)
    if (change.kind !== 'left') return
    const client = this.#world.clientOf(change.peer)
    if (change.reason === DepartureReason.SERVER_LOST) {
      const home = this.#world.homeOf(byteKey(change.sessionId))
      const why = this.#closing ? 'because a stream ended' : home && this.#leases.lostTooEarly(process, home, change)
      if (why !== undefined) this.#broken('I4', process, `client ${client?.index} is said to be lost ${why}`)
    }
    if (client !== undefined && this.#staying.has(client)) {
      this.#broken('I6', process, `client ${client.index} is said to have left, and only moved`)
    }
  }

  checkGhost(origin: SimServer, row: RowFact, process: SimProcess): void {
    this.#ghosts.check(origin, row, process)
  }

  /** I4, the other way round: the lease decides who is there, not the stream. */
  whileClosing(run: () => void): void {
    this.#closing = true
    run()
    this.#closing = false
  }

  /** I8, the other way round: servers that keep the rules are not refused. */
  onRefused(process: SimProcess, { reason, reasonName, limit }: MeshError): void {
    const why = limit ? `${reasonName} ${limit}` : reasonName
    this.#world.trace(`server ${process.index} refuses another one: ${why}`)
    const isOfStarts = reason === ErrorReason.EPOCH_STALE || limit === 'federation_epochs_burst'
    const startsTooOften = isOfStarts || (limit === 'federation_snapshots_per_second' && this.#hasCrashLoop)
    if (!this.#world.isTampered && !startsTooOften)
      this.#broken('I8', process, `refuses a server that keeps the rules: ${why}`)
  }

  /** A client got a message of somebody who is no member. */
  onStranger(process: SimProcess, id: ByteKey): void {
    this.#checksOf(process).catchUp.onStranger(id)
  }

  onOwnChange(process: SimProcess, topicKey: ByteKey): void {
    this.#checksOf(process).visible.onOwnChange(topicKey)
  }

  /** Nobody may say from now on that this client left. */
  mustStay(client: SimClient): void {
    this.#staying.add(client)
  }

  onDeath(server: SimServer): void {
    for (const row of server.history.end()) this.#ghosts.ended(server, row)
  }

  /** I5, now: what is wrong with the view of each server, and with what it holds of each other one. */
  differences(records: boolean): string[] {
    const expected = new Map<string, RowFact>()
    for (const { process, history } of this.#world.servers) {
      if (process?.state === 'dead') continue
      for (const [key, row] of history.table) {
        const known = expected.get(key)
        if (known === undefined || outranks(row, known)) expected.set(key, row)
      }
    }
    return this.#world.servers.flatMap(({ process }) => {
      if (process?.state !== 'running') return []
      const { replicas, visible } = this.#checksOf(process)
      const tables = records ? replicas.differences() : []
      return [...visible.differencesFrom(expected, records), ...tables]
    })
  }

  /** Crash loops here start a server more often than anybody has to believe, and each start sends its snapshot anew. */
  get #hasCrashLoop(): boolean {
    const { servers, clock, settings } = this.#world
    const sinceMs = clock.monotonicMs() - CRASH_LOOP_MS
    return servers.some((server) => server.startsSince(sinceMs) > settings.limits.federationSnapshotsBurst / 2)
  }

  #checkBounds(process: SimProcess): void {
    const { limits, backplane } = process
    const { logRows, attempts } = backplane.held
    // While somebody is brought up to date, as many as there are rows.
    const most = Math.max(limits.federationLogRows, process.history.mostRows)
    if (logRows > most) this.#broken('I8', process, `its log has ${logRows} entries, more than ${most}`)
    const mostAttempts = limits.federationMaxAttempts * this.#world.servers.length
    if (attempts > mostAttempts) this.#broken('I8', process, `${attempts} attempts are on their way`)
  }

  #checksOf(process: SimProcess): ProcessChecks {
    const known = this.#checks.get(process)
    if (known !== undefined) return known
    const lossy = new Set<number>()
    const checks = {
      lossy,
      replicas: new ReplicaCheck(this.#world, process, lossy),
      visible: new VisibleSet(this.#world, process),
      leaves: new LeaveCheck(this.#world, process, lossy),
      spoken: new SpokenLease(this.#world, process),
      catchUp: new CatchUpCheck(this.#world, process, lossy),
    }
    this.#checks.set(process, checks)
    return checks
  }

  #broken(name: string, process: SimProcess, what: string): void {
    this.#world.violation(`${name} server ${process.index}: ${what}`)
  }
}

/** A start costs a snapshot of the burst, which fills again in this time. */
const CRASH_LOOP_MS = 8_000

/** Which of two memberships of one peer is shown. */
function outranks(row: RowFact, other: RowFact): boolean {
  return row.order === other.order ? row.recordSeq > other.recordSeq : row.order > other.order
}
