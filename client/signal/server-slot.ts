import type { Clock, Random } from '@mesh/core'
import type { NoticeEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { Handover } from './handover.ts'
import type { SignalClient } from './signal-client.ts'
import { type KnownServers, type Successor, successorOf } from './successor.ts'

/**
 * One server of the application's list, or the one that stands in for it:
 *
 *   home ── it drains and names a successor, or it stood in and is lost ──▶ home and next
 *                next connected, and home lost or not needed any more ──▶ next is home
 *                         next closed, or home back before next is up ──▶ home
 *
 * What stands in does so for as long as it works; then the server of the list is tried again.
 */
export interface ServerSlotOptions {
  readonly origin: string
  readonly known: KnownServers
  readonly clock: Clock
  readonly random: Random
  /** Makes a client and makes it known; it is started here. */
  readonly make: (server: Successor) => SignalClient
  /** A client has no part in anything any more, and is being closed. */
  readonly onRemoved: (client: SignalClient) => void
  /** Whether the client has a session at that origin, or another slot is about to open one. */
  readonly isTaken: (origin: string) => boolean
  /** Whether whoever the server lists is within reach without it. */
  readonly isReplaceable: (client: SignalClient) => boolean
}

/** Those who let a server go before its time come back spread over this long after it. */
const RETURN_SPREAD_MS = 5_000

export class ServerSlot {
  readonly #options: ServerSlotOptions
  readonly #closing = new Set<Promise<void>>()
  #home: SignalClient
  #next: SignalClient | undefined
  /** Where `#next` will be, before it is made. */
  #planned: string | undefined
  #handover: Handover | undefined
  #closed = false

  constructor(options: ServerSlotOptions) {
    this.#options = options
    this.#home = options.make({ origin: options.origin, serverKeys: options.known.serverKeys })
  }

  get clients(): SignalClient[] {
    return this.#next ? [this.#home, this.#next] : [this.#home]
  }

  /** True when this slot is, or is about to be, at that origin. */
  isAt(origin: string): boolean {
    return this.#planned === origin || this.clients.some((client) => client.origin === origin)
  }

  /** True while the server is about to stop, so that its session is worth nothing for long. */
  isLeaving(client: SignalClient): boolean {
    return client === this.#home && this.#handover !== undefined
  }

  start(): void {
    this.#home.start()
  }

  /** A server of this slot said that it stops. */
  draining(client: SignalClient, notice: NoticeEvent): void {
    if (client !== this.#home || this.#next || this.#handover || notice.deadlineMs === 0) return
    const { clock, random, known, isTaken, isReplaceable } = this.#options
    const named = successorOf(notice, client.origin, known)
    const successor = named && !isTaken(named.origin) ? named : undefined
    this.#planned = successor?.origin
    this.#handover = new Handover({
      clock,
      random,
      deadlineMs: notice.deadlineMs,
      open: successor && (() => this.#open(successor)),
      isDone: () => (this.#next ? isUp(this.#next) : true) && isReplaceable(client),
      onDone: (leftMs) => this.#letGo(leftMs),
      onDeadline: () => {
        this.#handover = undefined
        this.changed()
      },
    })
  }

  /** The state of one of the clients is another one. */
  changed(): void {
    const next = this.#next
    if (this.#closed) return
    if (next) {
      if (isUp(next) && (!isUp(this.#home) || !this.#handover)) this.#promote(next)
      else if (next.state.kind === 'closed' || (isUp(this.#home) && !this.#handover)) this.#dropNext(next)
    } else if (this.#home.origin !== this.#options.origin && isLost(this.#home)) {
      const { origin, known } = this.#options
      this.#open({ origin, serverKeys: known.serverKeys })
    }
  }

  /** Closes the clients. Resolves when their sessions are closed. */
  async close(): Promise<void> {
    this.#closed = true
    this.#handover?.cancel()
    for (const client of this.clients) this.#close(client)
    await Promise.all(this.#closing)
  }

  #letGo(leftMs: number): void {
    const { random } = this.#options
    const home = this.#home
    this.#handover = undefined
    if (this.#next) this.#promote(this.#next)
    else home.standAside(leftMs + random.uniform() * RETURN_SPREAD_MS)
  }

  #open(server: Successor): void {
    this.#planned = undefined
    this.#next = this.#options.make(server)
    this.#next.start()
  }

  #promote(next: SignalClient): void {
    const before = this.#home
    this.#handover?.cancel()
    this.#handover = undefined
    this.#home = next
    this.#next = undefined
    this.#remove(before)
  }

  #dropNext(next: SignalClient): void {
    this.#next = undefined
    this.#remove(next)
  }

  #remove(client: SignalClient): void {
    this.#options.onRemoved(client)
    this.#close(client)
  }

  #close(client: SignalClient): void {
    const closing = client.close()
    this.#closing.add(closing)
    // A failure is for whoever awaits `close` of the slot.
    closing.then(
      () => this.#closing.delete(closing),
      () => undefined,
    )
  }
}

function isUp({ state }: SignalClient): boolean {
  return state.kind === 'connected'
}

function isLost({ state }: SignalClient): boolean {
  return state.kind === 'waiting' || state.kind === 'closed'
}
