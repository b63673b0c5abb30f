import { ErrorReason, toHex } from '@mesh/core'
import { DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../server/byte-key.ts'
import type { TopicChange } from '../../../server/directory/directory.ts'
import { DetourCheck } from './detour-check.ts'
import { GhostBound } from './ghost-bound.ts'
import { HopCheck } from './hop-check.ts'
import type { SentMessage } from './messages.ts'
import type { RowFact } from './origin-history.ts'
import { ReplicaCheck } from './replica-check.ts'
import type { SimClient } from './sim-client.ts'
import type { SimProcess } from './sim-process.ts'
import type { SimServer } from './sim-server.ts'
import type { SimSession } from './sim-session.ts'
import type { Writing } from './tampering.ts'
import { VisibleSet } from './visible-set.ts'
import type { World } from './world.ts'

/**
 * What federation promises (docs/federation.md), as assertions on the real machines after every step:
 *
 *  I1  every (origin, epoch, seq) held was published by that origin
 *  I2  a replica's table at seq s equals the origin's at s
 *  I3  (epoch, seq) of an origin never goes back at a replica
 *  I4  no visible row outlives its deletion by more than the ghost bound, and none goes because a stream ended, or
 *      while a third server reaches its origin
 *  I5  after faults stop, every view equals the union of live origins
 *  I6  JOINED and LEFT alternate per key, revisions rise, and the changes fold to the view, at servers and at clients
 *  I7  DELIVERED implies that the message got to a session of its recipient
 *  I8  the log, the attempts and the queues are bounded, and so is what happens at one time
 *  I9  nobody gets a message twice at one server, and an attempt makes one hop, or two through a third server
 *  I10 every send resolves by its TTL, or by the time of two receipts, whichever is sooner
 */
export class Invariants {
  readonly #world: World
  readonly #replicas = new WeakMap<SimProcess, ReplicaCheck>()
  readonly #visible = new WeakMap<SimProcess, VisibleSet>()
  readonly #ghosts: GhostBound
  readonly #hops: HopCheck
  readonly #detours: DetourCheck
  /** DELIVERED, but the recipient has a session that it does not read at the moment. */
  readonly #doubtful = new Set<SentMessage>()
  readonly #staying = new Set<SimClient>()
  #closing = false
  #resuming = false

  constructor(world: World) {
    this.#world = world
    this.#ghosts = new GhostBound(world)
    this.#hops = new HopCheck(world)
    this.#detours = new DetourCheck(world)
  }

  /** Code of a process ran, and everything came to rest: takes down what it published. Before anybody is checked. */
  noteOwn(process: SimProcess): void {
    const server = this.#world.servers[process.index] as SimServer
    const [own] = process.backplane.origins()
    if (own === undefined) return
    const { ended, fault, started } = server.history.note(process.boot, own)
    if (server.history.epochsOf(process.boot) > 1 && started) this.#world.count('epochBumps')
    if (fault !== undefined) this.#broken('I1', process, fault)
    for (const row of ended) this.#ghosts.ended(server, row)
  }

  check(process: SimProcess): void {
    this.#replicaOf(process).check()
    this.#visibleOf(process).check()
    this.#detours.check(process)
    this.#checkBounds(process)
  }

  onChange(process: SimProcess, change: TopicChange): void {
    this.#visibleOf(process).onChange(change)
    const client = this.#world.clientOf(change.peer)
    if (change.kind === 'left' && change.reason === DepartureReason.SERVER_LOST) {
      const why = this.#closing ? 'because a stream ended' : this.#resuming ? 'right after a stop' : undefined
      if (why !== undefined) this.#broken('I4', process, `client ${client?.index} is said to be lost ${why}`)
    }
    if (change.kind === 'left' && client !== undefined && this.#staying.has(client)) {
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

  /** A server that was stopped hears the others before it judges them; once, if it is stopped again and again. */
  whileResuming(process: SimProcess, run: () => void): void {
    const { federationStateMs, federationLeaseMs } = process.limits
    const ranForMs = process.resumedMs - process.stoppedForMs - process.resumedBeforeMs
    this.#resuming = ranForMs > 2 * federationLeaseMs && process.stoppedForMs > 2 * federationStateMs
    run()
    this.#resuming = false
  }

  onOwnChange(process: SimProcess, topicKey: ByteKey): void {
    this.#visibleOf(process).onOwnChange(topicKey)
  }

  /** Nobody may say from now on that this client left. */
  mustStay(client: SimClient): void {
    this.#staying.add(client)
  }

  onDeath(server: SimServer): void {
    for (const row of server.history.end()) this.#ghosts.ended(server, row)
  }

  onFrames(writing: Writing): void {
    this.#hops.onFrames(writing)
  }

  onRead(id: ByteKey, client: SimClient, session: SimSession): void {
    const { messages } = this.#world
    if (messages.recipientOf(id) !== client.index) {
      this.#broken('I7', session.process, `client ${client.index} got a message that was not for it`)
    }
    if (!messages.read(id, client.index, session.process)) {
      this.#broken(
        'I9',
        session.process,
        `client ${client.index} got message ${toHex(Buffer.from(id, 'latin1'))} twice`,
      )
    }
  }

  onSettled(message: SentMessage): void {
    this.#checkTime(message)
    const { messages } = this.#world
    const { status, error } = message.outcome ?? {}
    if (error !== undefined && BETWEEN_SERVERS.has(error.reason)) {
      this.#broken('I10', message.process, `a client is told ${error.reasonName}, which servers tell each other`)
    }
    if (status === OutcomeStatus.HELD) messages.held += 1
    if (status === OutcomeStatus.REFUSED) messages.refused += 1
    if (status !== OutcomeStatus.DELIVERED) return
    messages.delivered += 1
    if (!messages.arrived(message)) this.#doubtful.add(message)
  }

  /** I7 and I10 at the end of a run. */
  atEnd(): void {
    for (const message of this.#doubtful) {
      this.#takeUnread(message)
      if (this.#world.messages.arrived(message)) continue
      const id = toHex(Buffer.from(message.id, 'latin1'))
      this.#violation('I7', `message ${id} to client ${message.to} was reported delivered, and never got there`)
    }
    for (const message of this.#world.messages.open) this.#checkTime(message)
  }

  /** I5 for messages: what was sent after the faults got there, and nothing is under way any more. */
  checkPeace(): void {
    for (const message of this.#world.messages.sent) {
      const { id, from, to, outcome } = message
      // A full queue says so at once, and whoever wrote may try again.
      const isFull = outcome?.error?.reason === ErrorReason.RECIPIENT_SLOW
      if (!message.inPeace || isFull || this.#world.messages.arrived(message)) continue
      const result =
        outcome === undefined ? 'has no outcome' : `ended as ${outcome.status} ${outcome.error?.message ?? ''}`
      this.#violation(
        'I5',
        `message ${toHex(Buffer.from(id, 'latin1'))} from client ${from} to ${to} in peace ${result}`,
      )
    }
  }

  /** I8 when every ttl has passed: nothing of a message is left anywhere. */
  checkNothingHeld(): void {
    for (const { process } of this.#world.servers) {
      if (process === undefined) continue
      const { attempts } = process.backplane.held
      const { heldCount } = process.domain.router
      if (attempts > 0) this.#broken('I8', process, `still has ${attempts} attempts when every ttl has passed`)
      if (heldCount > 0) this.#broken('I8', process, `still holds ${heldCount} messages when every ttl has passed`)
    }
  }

  /** I5, now: what is wrong with the view of each server. */
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
      return process?.state === 'running' ? this.#visibleOf(process).differencesFrom(expected, records) : []
    })
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

  /** I10. Time in which the process is stopped does not count: nothing can resolve there. */
  #checkTime({ process, sentMs, ttlMs, resolvedMs, id }: SentMessage): void {
    const nowMs = resolvedMs ?? this.#world.clock.monotonicMs()
    if (process.state !== 'running' || process.resumedMs >= sentMs) return
    const { federationReceiptMs } = process.limits
    const patienceMs = 2 * federationReceiptMs
    const boundMs = (ttlMs === 0 ? patienceMs : Math.min(ttlMs, patienceMs)) * 1.01 + SLACK_MS
    if (nowMs - sentMs <= boundMs) return
    const what = `message ${toHex(Buffer.from(id, 'latin1'))} with ttl ${ttlMs}`
    const state = resolvedMs === undefined ? 'has no outcome' : 'got its outcome'
    this.#broken('I10', process, `${what} ${state} after ${Math.round(nowMs - sentMs)} ms`)
  }

  /** What waits in queues of the recipient that it does not read. */
  #takeUnread(message: SentMessage): void {
    const recipient = this.#world.clients[message.to] as SimClient
    for (const session of this.#world.sessionsOf.get(recipient) ?? []) {
      for (const { event } of session.unread()) {
        if (event.case === 'message') this.#world.messages.lost(byteKey(event.value.id))
      }
    }
  }

  #replicaOf(process: SimProcess): ReplicaCheck {
    let check = this.#replicas.get(process)
    if (check === undefined) {
      check = new ReplicaCheck(this.#world, process)
      this.#replicas.set(process, check)
    }
    return check
  }

  #visibleOf(process: SimProcess): VisibleSet {
    let set = this.#visible.get(process)
    if (set === undefined) {
      set = new VisibleSet(this.#world, process)
      this.#visible.set(process, set)
    }
    return set
  }

  #broken(name: string, process: SimProcess, what: string): void {
    this.#violation(name, `server ${process.index}: ${what}`)
  }

  #violation(name: string, what: string): void {
    this.#world.violation(`${name} ${what}`)
  }
}

/** Reasons that send a message to another home, or nowhere: never the last word. */
const BETWEEN_SERVERS: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.NOT_HERE,
  ErrorReason.UNREACHABLE,
  ErrorReason.INTERNAL,
])

/** Rounding of timers. */
const SLACK_MS = 20

/** Which of two memberships of one peer is shown. */
function outranks(row: RowFact, other: RowFact): boolean {
  return row.order === other.order ? row.recordSeq > other.recordSeq : row.order > other.order
}
