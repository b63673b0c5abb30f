import { ErrorReason, formatPeerId, MeshError, type SigningKey, toHex } from '@mesh/core'
import { type PartyInput, parseMeshAddress, resolveParty, serverOrigins } from './address.ts'
import { CheckUp, type CheckUpCause } from './check-up.ts'
import { Connections } from './connection/connections.ts'
import type { RtcFactory, RtcIceServer } from './connection/rtc.ts'
import { abortable } from './delay.ts'
import { ephemeralIdentity, type Identity, identityFromKey } from './identity/identity.ts'
import type { Platform } from './platform.ts'
import { type ServerStatus, SignalClients, type SignalClientsEvents } from './signal/signal-clients.ts'
import type { SignalState } from './signal/signal-state.ts'
import { RecordSeq } from './swarm/record-seq.ts'
import { Swarm } from './swarm/swarm.ts'
import type { SwarmOptions } from './swarm/swarm-options.ts'

export interface ClientOptions {
  /**
   * The signaling server, or several (at most 8): origins, or mesh addresses without a party. The client joins and sends
   * at all of them, so a peer is found while it shares one server with it, and nothing is noticed of one that is down. Servers
   * that belong together and servers that know nothing of each other do equally well.
   */
  readonly servers: string | readonly string[]
  /**
   * Who this peer is: the name of a stored identity ('default'; created on first use, held exclusively), 'ephemeral' for a key
   * that is never stored, or a key of the caller's own.
   */
  readonly identity?: string | SigningKey
  /** Ed25519 public key of the server, or of each of them, 32 bytes: refuse any other. */
  readonly serverKey?: Uint8Array | readonly Uint8Array[]
  /** WebRTC to use instead of the platform's; `null` for none, so that links stay on the relay path. */
  readonly rtc?: RtcFactory | null
  /** STUN and TURN servers beside those the signaling servers name. */
  readonly iceServers?: readonly RtcIceServer[]
  /** For tests and other runtimes. */
  readonly platform?: Platform
}

export interface JoinOptions extends ClientOptions, SwarmOptions {
  readonly party: PartyInput
  /** Gives up joining. */
  readonly signal?: AbortSignal
}

/**
 * One peer: an identity, a session at each of its signaling servers, and one link per other peer, shared by all swarms it joins.
 */
export class MeshClient {
  /** Own peer id, in text. */
  readonly id: string
  readonly #identity: Identity
  readonly #platform: Platform
  readonly #signal: SignalClients
  readonly #connections: Connections
  readonly #seq = new RecordSeq()
  readonly #swarms = new Map<string, Swarm>()
  readonly #extraIceServers: readonly RtcIceServer[]
  readonly #closeWithSwarm: boolean
  readonly #checkUp: CheckUp
  readonly #unwatch: (() => void) | undefined
  #closing: Promise<void> | undefined

  /** Clients are made by `createClient`. */
  constructor(
    platform: Platform,
    identity: Identity,
    origins: readonly string[],
    options: ClientOptions,
    closeWithSwarm = false,
  ) {
    const { clock, random } = platform
    this.#closeWithSwarm = closeWithSwarm
    this.#platform = platform
    this.#identity = identity
    this.#extraIceServers = options.iceServers ?? []
    this.id = formatPeerId(identity.key.publicKey)
    this.#signal = new SignalClients({
      servers: { origins, serverKeys: pins(options.serverKey) },
      connect: (origin) => platform.connect(origin),
      key: identity.key,
      clock,
      random,
      events: this.#signalEvents(),
    })
    this.#connections = new Connections({
      clock,
      random,
      key: identity.key,
      aead: platform.aead,
      rtc: options.rtc === null ? undefined : (options.rtc ?? platform.rtc),
      iceServers: () => [...this.#signal.iceServers, ...this.#extraIceServers],
      sessions: () => this.#signal.sessions,
      relayUp: () => this.#signal.isUp,
      send: (envelope) => {
        const homes = this.#swarms.get(toHex(envelope.topic))?.homes
        return this.#signal.send(envelope, (server) => homes?.lists(server, envelope.to) === true)
      },
    })
    this.#checkUp = new CheckUp(clock, (cause) => this.#check(cause))
    this.#unwatch = platform.lifecycle?.watch((event) => this.#checkUp.notice(event))
    this.#signal.start()
  }

  /** Whether a signaling server is connected, and if none is, why; of several, the error names each. */
  get signalState(): SignalState {
    return this.#signal.state
  }

  /** Each signaling server in use, with its own state; one that drains may have been replaced by its successor. */
  get servers(): readonly ServerStatus[] {
    return this.#signal.servers
  }

  /**
   * Joins a party's swarm. Resolves when the first server has this peer; tries again and again while none can be reached.
   * Rejects with ADDRESS_INVALID, KEY_INVALID, the refusal of the servers, SESSION_REPLACED, CONFIGURATION when this
   * client is in the swarm already, or ABORTED.
   */
  async join(party: PartyInput, options: SwarmOptions & { readonly signal?: AbortSignal } = {}): Promise<Swarm> {
    const { signal, ...swarmOptions } = options
    const resolved = await resolveParty(party)
    const name = toHex(resolved.topic)
    if (this.#closing) throw new MeshError(ErrorReason.SESSION_CLOSED, 'the client was closed')
    const state = this.#signal.state
    if (state.kind === 'closed') throw state.error ?? new MeshError(ErrorReason.SESSION_CLOSED, 'the session ended')
    if (this.#swarms.has(name)) throw new MeshError(ErrorReason.CONFIGURATION, 'this client is in that swarm already')
    const swarm = new Swarm({
      party: resolved,
      key: this.#identity.key,
      clock: this.#platform.clock,
      random: this.#platform.random,
      signal: this.#signal,
      connections: this.#connections,
      seq: this.#seq,
      options: swarmOptions,
      onClosed: async () => {
        this.#swarms.delete(name)
        if (this.#closeWithSwarm) await this.close()
      },
    })
    this.#swarms.set(name, swarm)
    try {
      await abortable(swarm.start(), signal)
      return swarm
    } catch (error) {
      await swarm.close()
      throw error
    }
  }

  /** Leaves every swarm, says goodbye on every link, ends the session and releases the identity. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.#unwatch?.()
    this.#checkUp.close()
    try {
      await Promise.all([...this.#swarms.values()].map((swarm) => swarm.close()))
      await this.#connections.close(new MeshError(ErrorReason.LINK_CLOSED, 'the other peer closed'))
      await this.#signal.close()
    } finally {
      await this.#identity.release()
    }
  }

  #each(run: (swarm: Swarm) => void): void {
    for (const swarm of [...this.#swarms.values()]) run(swarm)
  }

  /** This process slept, or its network may be another one: looks at everything that is open, without waiting for timeouts. */
  #check(cause: CheckUpCause): void {
    this.#each((swarm) => swarm.check())
    this.#connections.check()
    this.#signal.check(cause)
  }

  #signalEvents(): SignalClientsEvents {
    return {
      added: (server) => this.#each(({ homes }) => homes.add(server)),
      removed: (server) => {
        this.#each(({ homes }) => homes.remove(server))
        this.#connections.signalChanged()
      },
      opened: (server) => this.#each(({ homes }) => homes.opened(server)),
      connected: (server) => {
        this.#each(({ homes }) => homes.connected(server))
        this.#connections.signalChanged()
      },
      members: (server, event) => this.#swarms.get(toHex(event.topic))?.homes.event(server, event),
      gap: (server) => this.#each(({ homes }) => homes.gap(server)),
      changed: (server) => {
        const { kind } = server.state
        if (kind !== 'waiting' && kind !== 'closed') return
        this.#each(({ homes }) => homes.disconnected(server))
        this.#connections.signalChanged()
      },
      message: (envelope) => this.#connections.receive(envelope),
      failed: (error) => this.#each((swarm) => swarm.fail(error)),
      isReplaceable: (server) => [...this.#swarms.values()].every(({ homes }) => homes.isReplaceable(server)),
    }
  }
}

/** Makes a client on a platform; applications use `createClient` of the package, which knows the platform. */
export async function createClientOn(
  platform: Platform,
  options: ClientOptions,
  closeWithSwarm = false,
): Promise<MeshClient> {
  const origins = serverOrigins(options.servers)
  const chosen = options.platform ?? platform
  return new MeshClient(
    chosen,
    await chooseIdentity(chosen, options.identity ?? 'default'),
    origins,
    options,
    closeWithSwarm,
  )
}

/** One swarm with a client of its own: closing the swarm closes the client. */
export async function joinOn(
  platform: Platform,
  target: string | JoinOptions,
  options: Omit<JoinOptions, 'party' | 'servers'> = {},
): Promise<Swarm> {
  const complete = typeof target === 'string' ? { ...options, ...fromAddress(target) } : target
  await resolveParty(complete.party)
  const client = await createClientOn(platform, complete, true)
  try {
    return await client.join(complete.party, complete)
  } catch (error) {
    await client.close()
    throw error
  }
}

function pins(serverKey: ClientOptions['serverKey']): readonly Uint8Array[] | undefined {
  return serverKey instanceof Uint8Array ? [serverKey] : serverKey
}

function fromAddress(address: string): { servers: readonly string[]; party: PartyInput } {
  const { origins, party } = parseMeshAddress(address)
  if (party === undefined) {
    throw new MeshError(
      ErrorReason.ADDRESS_INVALID,
      `address "${address}" names no party; add one: mesh://host/our-party`,
    )
  }
  return { servers: origins, party }
}

function chooseIdentity(platform: Platform, identity: string | SigningKey): Promise<Identity> {
  if (typeof identity !== 'string') return Promise.resolve(identityFromKey(identity))
  if (identity === 'ephemeral') return ephemeralIdentity()
  if (!/^[a-z0-9-]{1,64}$/.test(identity)) {
    throw new MeshError(
      ErrorReason.CONFIGURATION,
      `identity name "${identity.slice(0, 80)}" must be 1 to 64 of a-z, 0-9 and -`,
    )
  }
  return platform.identities.acquire(identity)
}
