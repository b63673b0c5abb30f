import { type Clock, ErrorReason, equalBytes, MeshError, type Random, type SigningKey } from '@mesh/core'
import type { Envelope, MembersEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { CheckUpCause } from '../check-up.ts'
import type { RtcIceServer } from '../connection/rtc.ts'
import type { SignalTransport } from '../platform.ts'
import { combineFailures, type ServerFailure } from './combined-error.ts'
import { DeliveryWindow } from './delivery-window.ts'
import { FanOut } from './fan-out.ts'
import type { OutgoingEnvelope, SendOutcome } from './outbox.ts'
import { ServerSlot } from './server-slot.ts'
import type { SignalSession } from './session.ts'
import { SessionOrder } from './session-order.ts'
import { SignalClient } from './signal-client.ts'
import type { SignalState } from './signal-state.ts'
import type { KnownServers, Successor } from './successor.ts'

/**
 * The signaling servers of one peer, each with a session of its own: one process, whose sessions its session order counts.
 * What one server does not do, another does; a server that is down costs the others nothing.
 */
export interface SignalClientsOptions {
  /** As the application named them: at least one, each once. */
  readonly servers: KnownServers
  readonly connect: (origin: string) => SignalTransport
  readonly key: SigningKey
  readonly clock: Clock
  readonly random: Random
  readonly events: SignalClientsEvents
}

/** What happens at one of the servers; see SignalEvents. `home`: which. */
export interface SignalClientsEvents {
  /** There is a server more, from now on. */
  added(home: SignalClient): void
  /** The server has no part in anything any more. */
  removed(home: SignalClient): void
  opened(home: SignalClient): void
  connected(home: SignalClient): void
  members(home: SignalClient, event: MembersEvent): void
  gap(home: SignalClient): void
  /** Its state is another one. */
  changed(home: SignalClient): void
  /** An envelope, from whichever server brought it first. */
  message(envelope: Envelope): void
  /** Every server is closed for good; the error names each. */
  failed(error: MeshError): void
  /** Whether everybody the server lists is listed by another one too, and this peer is joined there. */
  isReplaceable(home: SignalClient): boolean
}

/** Where a client is with one of its servers. */
export interface ServerStatus {
  readonly origin: string
  /** 'waiting': lost, or not reached yet, and tried again soon. 'closed': for good. */
  readonly state: SignalState['kind']
  /** Why it is waiting or closed. */
  readonly error: MeshError | undefined
  /** The limit this client came close to and was warned of, since it connected: `limit`, `limitValue` and `value` say more. */
  readonly warning: MeshError | undefined
}

/** How soon a second name of one server is tried again: it is in reserve, in case the first name stops working. */
const RESERVE_MS = 15_000

export class SignalClients {
  readonly #options: SignalClientsOptions
  readonly #order: SessionOrder
  readonly #slots: readonly ServerSlot[]
  readonly #fanOut = new FanOut()
  readonly #window = new DeliveryWindow()
  #homes: readonly SignalClient[] = []
  #closing: Promise<void> | undefined

  constructor(options: SignalClientsOptions) {
    this.#options = options
    this.#order = new SessionOrder(options.clock.wallMs())
    this.#slots = options.servers.origins.map((origin) => this.#makeSlot(origin))
  }

  /** Servers that take part, connected or not. */
  get homes(): readonly SignalClient[] {
    return this.#homes
  }

  get servers(): ServerStatus[] {
    return this.#homes.map(({ origin, state, warning }) => {
      return { origin, state: state.kind, error: errorOf(state), warning }
    })
  }

  /** The best of what the servers are in: one that is connected makes the client connected. */
  get state(): SignalState {
    const states = this.#homes.map(({ state }) => state)
    const found = ['connected', 'connecting', 'waiting'].map((kind) => states.find((state) => state.kind === kind))
    const [connected, connecting, waiting] = found
    if (connected ?? connecting) return (connected ?? connecting) as SignalState
    if (waiting) return { kind: 'waiting', error: this.#failure() }
    const failed = states.some((state) => state.kind === 'closed' && state.error)
    return { kind: 'closed', error: failed ? this.#failure() : undefined }
  }

  get isUp(): boolean {
    return this.#homes.some(isUp)
  }

  /** The sessions this peer has, those that are connected first. */
  get sessions(): SignalSession[] {
    const known = [...this.#homes.filter(isUp), ...this.#homes.filter((home) => !isUp(home))]
    return known.flatMap((home) => (home.session && home.state.kind !== 'closed' ? [home.session] : []))
  }

  get iceServers(): RtcIceServer[] {
    return this.sessions.flatMap(({ iceServers }) => iceServers)
  }

  /** Server time, as far as known. */
  wallMs(): number {
    return (this.#homes.find(isUp) ?? this.#homes[0])?.wallMs() ?? this.#options.clock.wallMs()
  }

  /** Begins to connect to every server, and keeps at it until close(). */
  start(): void {
    for (const slot of this.#slots) slot.start()
  }

  /**
   * Sends an envelope through every connected server that `lists` its recipient, or through every connected one when none
   * does. Resolves with what the first of them did that took it, rejects with the most telling refusal; see Outbox.send.
   */
  send(outgoing: OutgoingEnvelope, lists: (home: SignalClient) => boolean): Promise<SendOutcome> {
    const open = this.#homes.filter(({ state }) => state.kind !== 'closed')
    const up = open.filter(isUp)
    const listing = up.filter(lists)
    const carriers = [listing, up, open].find(({ length }) => length > 0)
    if (!carriers) return Promise.reject(this.#failure())
    return this.#fanOut.send({ ...outgoing, id: this.#options.random.bytes(16) }, carriers)
  }

  /** See SignalClient.check. */
  check(cause: CheckUpCause): void {
    for (const home of this.#homes) home.check(cause)
  }

  /** Closes every session. Idempotent; resolves within 2 s. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#slots.map((slot) => slot.close())).then(() => undefined)
    return this.#closing
  }

  #makeSlot(origin: string): ServerSlot {
    const { clock, random, servers, events } = this.#options
    const slot: ServerSlot = new ServerSlot({
      origin,
      known: servers,
      clock,
      random,
      make: (server) => this.#make(server, () => slot),
      onRemoved: (home) => {
        this.#homes = this.#homes.filter((other) => other !== home)
        this.#fanOut.down(home)
        events.removed(home)
      },
      isTaken: (other) => this.#slots.some((each) => each.isAt(other)),
      isReplaceable: (home) => this.#homes.some((other) => other !== home && isUp(other)) && events.isReplaceable(home),
    })
    return slot
  }

  #make({ origin, serverKeys }: Successor, slotOf: () => ServerSlot): SignalClient {
    const { connect, key, clock, random, events } = this.#options
    const home: SignalClient = new SignalClient({
      transport: connect(origin),
      origin,
      key,
      order: this.#order,
      clock,
      random,
      serverKeys,
      admit: (serverKey) => this.#admit(home, serverKey),
      events: {
        opened: () => events.opened(home),
        connected: () => events.connected(home),
        members: (event) => events.members(home, event),
        message: (envelope) => {
          if (this.#homes.length === 1 || !this.#window.isRepeated(envelope)) events.message(envelope)
        },
        gap: () => events.gap(home),
        draining: (notice) => slotOf().draining(home, notice),
        state: () => this.#onState(home, slotOf()),
      },
    })
    this.#homes = [...this.#homes, home]
    events.added(home)
    return home
  }

  #onState(home: SignalClient, slot: ServerSlot): void {
    if (!this.#homes.includes(home)) return
    if (isUp(home)) this.#fanOut.up(home, (other) => this.#homes.some((each) => each === other && isUp(each)))
    else if (this.isUp) this.#fanOut.down(home)
    const { events } = this.#options
    const { state } = this
    if (state.kind === 'closed' && state.error) return events.failed(state.error)
    events.changed(home)
    slot.changed()
  }

  /** One server must not have two sessions of one peer, which would replace each other for ever. */
  #admit(home: SignalClient, serverKey: Uint8Array): void {
    const same = this.#homes.find(
      (other) =>
        other !== home &&
        other.serverKey !== undefined &&
        equalBytes(other.serverKey, serverKey) &&
        !this.#slots.some((slot) => slot.isLeaving(other)),
    )
    if (!same) return
    const message = `${home.origin} is the same server as ${same.origin}`
    throw new MeshError(ErrorReason.CONFIGURATION, message, { retryAfterMs: RESERVE_MS })
  }

  #failure(): MeshError {
    const failures = this.#homes.flatMap(({ origin, state }): ServerFailure[] => {
      const error = errorOf(state)
      return error ? [{ origin, error }] : []
    })
    return failures.length > 0
      ? combineFailures(failures)
      : new MeshError(ErrorReason.SESSION_CLOSED, 'the client was closed')
  }
}

function errorOf(state: SignalState): MeshError | undefined {
  return 'error' in state ? state.error : undefined
}

function isUp({ state }: SignalClient): boolean {
  return state.kind === 'connected'
}
