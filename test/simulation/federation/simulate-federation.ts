import type { ByteKey } from '../../../server/byte-key.ts'
import type { Session } from '../../../server/session/session.ts'
import type { RowFact } from './checks/origin-history.ts'
import { connectAnywhere, liveAs } from './clients/client-life.ts'
import type { SimClient } from './clients/sim-client.ts'
import { startFaults } from './faults/faults.ts'
import type { SimProcess } from './servers/sim-process.ts'
import type { SimServer } from './servers/sim-server.ts'
import { summaryOf } from './summary.ts'
import { type Ordeal, World } from './world.ts'

// One run: servers, their clients, and a story of faults, all from one seed.
//
//  1. For up to 28 simulated seconds clients join, leave, move, send, vanish and return, while the network and the servers fail.
//  2. The faults stop, servers that are down start, and the clients rest. Every view must become what it should be, in time.
//  3. In peace everybody sends to everybody, and somebody moves: nothing may be lost, and nobody may seem to leave.

/** Time for everything to come back: a dead stream is found, dialled again at the longest delay, and read. */
const CONVERGENCE_MS = 120_000
const SLICE_MS = 250
/** Between the two connections of a client that moves: shorter than any session lives without a stream. */
const MOVE_MS = 500

/** More than all clients can write at one time. */
const MOVE_LOG_ROWS = 64

/** Longer than any message, or entry of a log, is on its way in peace. */
const PEACE_MS = 2_000
const PEACE_SLICE_MS = 100

export interface RunResult {
  readonly violations: readonly string[]
  readonly trace: readonly string[]
  readonly totals: RunTotals
}

/** What a run had to survive, and what it achieved. */
export interface RunTotals extends Readonly<Record<Ordeal, number>> {
  readonly delivered: number
  readonly held: number
  readonly refused: number
  readonly simulatedMs: number
  /** From the end of the faults until every view was right. */
  readonly convergedMs: number
}

export async function simulateFederation(seed: number, options = { trace: false }): Promise<RunResult> {
  const { stackTraceLimit } = Error
  // Errors are answers here, hundreds in a run; who reads the trace may want to know where one came from.
  if (!options.trace) Error.stackTraceLimit = 0
  try {
    return await new Run(seed, options).play()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

class Run {
  readonly #seed: number
  readonly #world: World

  constructor(seed: number, options: { trace: boolean }) {
    this.#seed = seed
    this.#world = new World(seed, options)
  }

  async play(): Promise<RunResult> {
    const world = this.#world
    let convergedMs = CONVERGENCE_MS
    try {
      convergedMs = await this.#story()
    } catch (error) {
      // A client or an invariant that could not read what it was given.
      world.violation(`the run ended with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
    const { delivered, held, refused } = world.messages
    const trace = world.log.wanted ? [...world.log.lines, ...summaryOf(world)] : []
    const totals = { ...world.ordeals, delivered, held, refused, simulatedMs: world.clock.monotonicMs(), convergedMs }
    return { violations: world.violations, trace, totals }
  }

  /** Returns how long it took from the end of the faults until every view was right. */
  async #story(): Promise<number> {
    const world = this.#world
    for (const server of world.servers) world.clock.schedule(world.newRandom().uniform() * 500, () => server.start())
    await world.clock.runUntil(600)
    for (const client of world.clients) liveAs(world, client)
    startFaults(world, world.newRandom())
    world.heldRows.start()
    await this.#until(world.settings.durationMs)
    this.#endFaults()
    const convergedMs = await this.#converge()
    if (world.violations.length === 0) await this.#peace()
    world.invariants.messages.atEnd()
    return convergedMs
  }

  #endFaults(): void {
    const world = this.#world
    world.trace('the faults are over')
    world.faultsOver = true
    world.clientsRest = true
    world.network.heal()
    for (const server of world.servers) {
      server.resume()
      server.start()
    }
  }

  /** I5. Clients that have no session get one. */
  async #converge(): Promise<number> {
    const world = this.#world
    const startMs = world.clock.monotonicMs()
    for (let atMs = startMs; atMs < startMs + CONVERGENCE_MS; atMs += SLICE_MS) {
      if (world.violations.length > 0) break
      this.#settleClients()
      await this.#until(atMs + SLICE_MS)
      if (!this.#isAtRest || world.invariants.differences(true).length > 0) continue
      return world.clock.monotonicMs() - startMs
    }
    if (world.violations.length > 0) return CONVERGENCE_MS
    const differences = world.invariants.differences(true)
    for (const difference of differences) world.violation(`I5 ${difference}`)
    if (!this.#isAtRest) world.violation('I5 servers or clients do not come to rest')
    return CONVERGENCE_MS
  }

  get #isAtRest(): boolean {
    const { clients, servers } = this.#world
    return (
      clients.every((client) => isSettled(this.#world, client)) &&
      servers.every((server) => isAtRest(this.#world, server))
    )
  }

  /** Everybody is at one server, with a stream, in every topic it wants to be in. */
  #settleClients(): void {
    const world = this.#world
    for (const client of world.clients) {
      if (!client.alive) continue
      for (const session of [...client.sessions]) {
        if (session.session.end !== undefined || session.process.state === 'dead') client.forget(session)
        else if (!session.streaming) client.resume(session)
      }
      if (client.sessions.length === 0) connectAnywhere(world, client)
      client.reconcile()
    }
  }

  /** Nothing is lost, and who moves does not seem to leave. */
  async #peace(): Promise<void> {
    const world = this.#world
    await this.#stayAtRest(world.settings.limits.federationStateMs)
    world.peace = true
    world.trace('peace')
    this.#everybodyWrites()
    await this.#untilArrived(PEACE_MS)
    const left = this.#somebodyMoves()
    await this.#untilArrived(PEACE_MS + world.settings.limits.leaseMs, () => left?.end !== undefined)
    // That the old session is over goes everywhere.
    await this.#until(world.clock.monotonicMs() + PEACE_MS / 4)
    this.#everybodyWrites()
    await this.#untilArrived(PEACE_MS)
    // Records are renewed in peace too: the newest may be on its way.
    for (const difference of world.invariants.differences(false)) world.violation(`I5 in peace: ${difference}`)
    if (this.#seed % 16 !== 1) return
    await this.#until(world.clock.monotonicMs() + world.settings.limits.maxHoldMs)
    world.invariants.messages.checkNothingHeld()
  }

  /**
   * A snapshot that was asked for twice is sent again, and no sooner than this: what changes meanwhile waits for it. And a frame
   * that was moved may still end a stream.
   */
  async #stayAtRest(forMs: number): Promise<void> {
    const { clock, violations } = this.#world
    do {
      await this.#until(clock.monotonicMs() + forMs)
      if (!this.#isAtRest) await this.#converge()
      else return
    } while (violations.length === 0)
  }

  #everybodyWrites(): void {
    const world = this.#world
    for (const client of world.clients) {
      const session = client.newest
      if (session === undefined) continue
      for (const [topicKey, { members }] of session.views) {
        const peers = [...members.keys()]
        const peer = peers[Math.floor(client.random.uniform() * peers.length)]
        if (peer !== undefined) client.send(session, world.topicKeys.indexOf(topicKey), peer, 5_000)
      }
    }
  }

  /** Waits until every message of the peace is where it should be, and for what else there is; not for long. */
  async #untilArrived(longestMs: number, isOver = () => true): Promise<void> {
    const { clock, invariants, violations } = this.#world
    const endMs = clock.monotonicMs() + longestMs
    while (clock.monotonicMs() < endMs && violations.length === 0) {
      if (isOver() && invariants.messages.missing().length === 0) return
      await this.#until(Math.min(endMs, clock.monotonicMs() + PEACE_SLICE_MS))
    }
    invariants.messages.checkPeace()
  }

  /**
   * To another server, with both connections for a moment or with none: what is sent meanwhile follows. Returns the session that
   * is left.
   */
  #somebodyMoves(): Session | undefined {
    const world = this.#world
    const client = world.clients.find(({ newest }) => newest?.streaming === true)
    const old = client?.newest
    if (client === undefined || old === undefined) return undefined
    world.trace(`client ${client.index} moves in peace`)
    // With records that do not run out while it is between two servers.
    for (const topic of client.wanted) client.join(old, topic)
    // What a short log lost comes with a snapshot, page by page, and that may take longer than the old session lives.
    if (world.settings.limits.federationLogRows >= MOVE_LOG_ROWS) world.invariants.mustStay(client)
    const go = (): void => void connectAnywhere(world, client, old.process.index)
    const letGo = (): void => {
      client.drop(old)
      client.forget(old)
    }
    const [first, second] = this.#seed % 2 === 0 ? [go, letGo] : [letGo, go]
    first()
    this.#everybodyWritesTo(client)
    world.clock.schedule(MOVE_MS, second)
    return old.session
  }

  #everybodyWritesTo(recipient: SimClient): void {
    const world = this.#world
    for (const client of world.clients) {
      const { newest } = client
      for (const [topicKey, { members }] of newest?.views ?? []) {
        if (newest === undefined || !members.has(recipient.peer) || client === recipient) continue
        client.send(newest, world.topicKeys.indexOf(topicKey), recipient.peer, 20_000)
      }
    }
  }

  async #until(ms: number): Promise<void> {
    const { clock, violations } = this.#world
    // An event of its own for what was done between events: clients read and everything is checked after it.
    clock.schedule(0, () => undefined)
    // A run that is broken need not be long.
    while (clock.monotonicMs() < ms && violations.length === 0) {
      await clock.runUntil(Math.min(ms, clock.monotonicMs() + 5_000))
    }
  }
}

function isSettled(world: World, client: SimClient): boolean {
  if (!client.alive || client.newest === undefined) return false
  const { session, process, streaming } = client.newest as {
    session: { topics: ReadonlyMap<ByteKey, unknown> }
    process: SimProcess
    streaming: boolean
  }
  if (process.state !== 'running' || !streaming) return false
  return [...client.wanted].every((topic) => session.topics.has(world.topicKeys[topic] as ByteKey))
}

/** It has both streams with every other server, and no session or membership that nobody uses any more. */
function isAtRest(world: World, { process, history }: SimServer): boolean {
  if (process?.state !== 'running') return false
  const isUsed = ({ peer, session }: RowFact): boolean =>
    world.clientOf(peer)?.sessions.some((used) => used.session.key === session) === true
  if (![...history.table.values()].every(isUsed)) return false
  const { neighbours } = process.backplane.status()
  const connected = neighbours.every(({ directory, messages }) => directory && messages)
  return connected && [...process.domain.sessions].every(({ streamCount }) => streamCount > 0)
}
