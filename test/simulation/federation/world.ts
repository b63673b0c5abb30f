import { type Random, seededRandom } from '@mesh/core'
import { type ByteKey, byteKey } from '../../../server/byte-key.ts'
import type { TopicChange } from '../../../server/directory/directory.ts'
import type { EnvelopeOutcome } from '../../../server/router/outcome.ts'
import { SimClock } from '../sim-clock.ts'
import { Invariants } from './checks/invariants.ts'
import { rowKey } from './checks/origin-history.ts'
import { Messages, type SentMessage } from './clients/messages.ts'
import { SimClient } from './clients/sim-client.ts'
import type { SimSession } from './clients/sim-session.ts'
import { HeldRows } from './faults/held-rows.ts'
import { Strangers } from './faults/strangers.ts'
import { SimNetwork } from './servers/sim-network.ts'
import type { SimProcess, Step } from './servers/sim-process.ts'
import { SimServer } from './servers/sim-server.ts'
import { standInKey, standInPublicKey } from './servers/stand-in-keys.ts'
import { drawSettings, type Settings } from './settings.ts'
import { outcomeName, Trace } from './trace.ts'
import { tapOf } from './world-tap.ts'

/** More of them add nothing to what went wrong. */
const MAX_VIOLATIONS = 10

/** What a run had to survive. */
export type Ordeal =
  | 'crashes'
  | 'pauses'
  | 'partitions'
  | 'brokenStreams'
  | 'snapshots'
  | 'passedOn'
  | 'passedStates'
  | 'epochBumps'
  | 'lostRows'
  | 'heldRows'
  | 'strangers'
  | 'lies'

/** Servers, clients and the network between them, on one clock, from one seed. */
export class World {
  readonly clock = new SimClock(() => this.#afterEvent())
  readonly settings: Settings
  readonly network: SimNetwork
  readonly servers: readonly SimServer[]
  readonly clients: readonly SimClient[]
  readonly serverKeys: readonly Uint8Array[]
  readonly topics: readonly Uint8Array[]
  readonly topicKeys: readonly ByteKey[]
  /** Every membership there can be, by `rowKey`. */
  readonly rowKeys: readonly string[]
  readonly heldRows: HeldRows
  readonly strangers: Strangers
  readonly messages = new Messages()
  readonly violations: string[] = []
  readonly ordeals: Record<Ordeal, number> = {
    crashes: 0,
    pauses: 0,
    partitions: 0,
    brokenStreams: 0,
    snapshots: 0,
    passedOn: 0,
    passedStates: 0,
    epochBumps: 0,
    lostRows: 0,
    heldRows: 0,
    strangers: 0,
    lies: 0,
  }
  readonly log: Trace
  readonly invariants: Invariants
  /** Every session that was ever opened, by client. */
  readonly sessionsOf = new Map<SimClient, SimSession[]>()
  faultsOver = false
  clientsRest = false
  /** Everything is known everywhere: nothing may be lost from here on. */
  peace = false
  readonly #random: Random
  readonly #rows = new Map<string, { readonly topicKey: ByteKey; readonly client: SimClient }>()
  readonly #clients = new Map<ByteKey, SimClient>()
  readonly #homes = new Map<ByteKey, SimProcess>()
  readonly #touched = new Set<SimProcess>()
  readonly #readable = new Set<SimSession>()
  readonly #settled: SentMessage[] = []

  constructor(seed: number, options: { trace: boolean }) {
    this.#random = seededRandom(seed)
    this.log = new Trace(options.trace)
    const later = seededRandom(~seed)
    this.settings = drawSettings(seed, this.newRandom(), later)
    const { serverCount, clientCount, topicCount } = this.settings
    this.topics = range(topicCount).map((index) => new Uint8Array(32).fill(0xa0 + index))
    this.topicKeys = this.topics.map(byteKey)
    this.serverKeys = range(serverCount).map((index) => standInPublicKey(index, 0x50))
    this.invariants = new Invariants(this)
    this.heldRows = new HeldRows(this, randomOf(later))
    this.strangers = new Strangers(this, randomOf(later))
    const tap = tapOf(this)
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.newRandom(),
      settings: this.settings.network,
      delivered: (from, to, frames) => this.invariants.onDelivered(from.index, to.index, frames),
      trace: (what) => this.trace(what),
      closing: (run) => this.invariants.whileClosing(run),
      onBroken: () => this.count('brokenStreams'),
      tap,
    })
    this.servers = this.serverKeys.map((key, index) => new SimServer(this, index, standInKey(key), this.newRandom()))
    this.clients = range(clientCount).map((index) => new SimClient(this, index, this.newRandom()))
    for (const client of this.clients) {
      this.#clients.set(client.peer, client)
      for (const topicKey of this.topicKeys) this.#rows.set(rowKey(topicKey, client.peer), { topicKey, client })
    }
    this.rowKeys = [...this.#rows.keys()]
  }

  /** A source of its own for each part, so that what one draws does not change the others. */
  newRandom(): Random {
    return randomOf(this.#random)
  }

  clientOf(peer: ByteKey): SimClient | undefined {
    return this.#clients.get(peer)
  }

  /** The process that a session is or was at. */
  homeOf(session: ByteKey): SimProcess | undefined {
    return this.#homes.get(session)
  }

  /** Whether servers do what they must not, or frames do not arrive as they were sent. */
  get isTampered(): boolean {
    const { tamperRate, lostRowRate, holdsPerMinute, lie } = this.settings
    return tamperRate > 0 || lostRowRate > 0 || holdsPerMinute > 0 || lie !== undefined
  }

  /** The membership that a `rowKey` names. */
  rowOf(key: string): { readonly topicKey: ByteKey; readonly client: SimClient } {
    return this.#rows.get(key) as { readonly topicKey: ByteKey; readonly client: SimClient }
  }

  setPaths(paths: readonly (readonly [number, number])[], open: boolean): void {
    this.trace(`${open ? 'open' : 'blocked'}: ${paths.map(([from, to]) => `${from}→${to}`).join(' ')}`)
    if (!open) this.count('partitions')
    for (const [from, to] of paths) this.network.setPath(from, to, open)
  }

  trace(what: string): void {
    this.log.add(this.clock.monotonicMs(), what)
  }

  count(what: Ordeal): void {
    this.ordeals[what] += 1
  }

  violation(what: string): void {
    this.trace(`VIOLATION ${what}`)
    const text = `at ${Math.round(this.clock.monotonicMs())} ms: ${what}`
    if (this.violations.length < MAX_VIOLATIONS) this.violations.push(text)
  }

  touched(process: SimProcess): void {
    this.#touched.add(process)
  }

  changed(process: SimProcess, change: TopicChange): void {
    if (this.log.wanted) {
      const client = this.clientOf(change.peer)?.index
      this.trace(
        `server ${process.index}: client ${client} ${change.kind} topic ${this.topicKeys.indexOf(change.topicKey)}`,
      )
    }
    this.invariants.onChange(process, change)
  }

  uncaught(process: SimProcess, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.violation(`uncaught in server ${process.index}: ${text}`)
  }

  serverDied(server: SimServer, process: SimProcess, how: 'reset' | 'silence'): void {
    this.invariants.onDeath(server)
    for (const client of this.clients) {
      for (const session of client.sessions.filter((candidate) => candidate.process === process)) {
        const noticedMs = client.random.uniform() * (how === 'reset' ? 200 : 5_000)
        this.clock.schedule(noticedMs, () => client.forget(session))
      }
    }
  }

  /** Clients that hear no heartbeat go elsewhere, unless the server comes back first. */
  serverPaused({ process }: SimServer): void {
    for (const client of this.clients) {
      for (const session of client.sessions.filter((candidate) => candidate.process === process)) {
        this.clock.schedule(2_000 + client.random.uniform() * 4_000, () => {
          if (process?.state !== 'stopped') return
          client.forget(session)
          process.run(() => session.detach())
        })
      }
    }
  }

  sessionOpened(client: SimClient, session: SimSession): void {
    this.#homes.set(session.session.key, session.process)
    const sessions = this.sessionsOf.get(client)
    if (sessions === undefined) this.sessionsOf.set(client, [session])
    else sessions.push(session)
  }

  readable(session: SimSession): void {
    this.#readable.add(session)
  }

  messageSent(message: SentMessage): void {
    this.messages.add(message)
    this.trace(
      `client ${message.from} sends ${hex(message.id)} to client ${message.to} at server ${message.process.index}, ttl ${message.ttlMs}`,
    )
  }

  messageSettled(message: SentMessage, outcome: EnvelopeOutcome): void {
    message.resolvedMs = this.clock.monotonicMs()
    message.outcome = outcome
    this.messages.open.delete(message)
    this.#settled.push(message)
    this.trace(`message ${hex(message.id)}: ${outcomeName(outcome.status)} ${outcome.error?.reasonName ?? ''}`)
  }

  messageRead(id: ByteKey, client: SimClient, session: SimSession): void {
    this.trace(`client ${client.index} reads ${hex(id)} at server ${session.process.index}`)
    if (this.strangers.has(id)) this.invariants.onStranger(session.process, id)
    else this.invariants.messages.onRead(id, client, session)
  }

  messageLost(id: ByteKey): void {
    this.messages.lost(id)
  }

  /** Clients read what came, then everything that was touched is checked. */
  #afterEvent(): void {
    for (const session of this.#readable) {
      if (session.process.state === 'stopped') continue
      this.#readable.delete(session)
      if (session.process.state === 'running') session.read()
    }
    if (this.#touched.size === 0) return
    const steps: Step[] = []
    for (const process of this.#touched) {
      if (process.state === 'running') steps.push({ process, origins: process.backplane.origins() })
    }
    this.#touched.clear()
    for (const step of steps) this.invariants.noteOwn(step)
    for (const step of steps) this.invariants.check(step)
    for (const message of this.#settled.splice(0)) this.invariants.messages.onSettled(message)
  }
}

function randomOf(random: Random): Random {
  return seededRandom(Math.floor(random.uniform() * 2 ** 31))
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

function hex(id: ByteKey): string {
  return Buffer.from(id, 'latin1').subarray(2, 8).toString('hex')
}
