import { ErrorReason, formatPeerId, MeshError, type SigningKey, toHex } from '@mesh/core'
import { type PartyInput, parseMeshAddress, resolveParty, serverOrigin } from './address.ts'
import { Connections } from './connection/connections.ts'
import type { RtcFactory, RtcIceServer } from './connection/rtc.ts'
import { abortable } from './delay.ts'
import { ephemeralIdentity, type Identity, identityFromKey } from './identity/identity.ts'
import type { Platform } from './platform.ts'
import { SessionOrder } from './signal/session-order.ts'
import { SignalClient } from './signal/signal-client.ts'
import type { SignalState } from './signal/signal-state.ts'
import { RecordSeq } from './swarm/record-seq.ts'
import { Swarm } from './swarm/swarm.ts'
import type { SwarmOptions } from './swarm/swarm-options.ts'

export interface ClientOptions {
  /** The signaling server: an origin, or a mesh address without a party. */
  readonly servers: string | readonly string[]
  /**
   * Who this peer is: the name of a stored identity ('default'; created on first use, held exclusively), 'ephemeral' for a key
   * that is never stored, or a key of the caller's own.
   */
  readonly identity?: string | SigningKey
  /** Ed25519 public key of the server, 32 bytes: refuse any other. */
  readonly serverKey?: Uint8Array
  /** WebRTC to use instead of the platform's; `null` for none, so that links stay on the relay path. */
  readonly rtc?: RtcFactory | null
  /** STUN and TURN servers beside those the signaling server names. */
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
 * One peer: an identity, a session at a signaling server, and one link per other peer, shared by all swarms it joins.
 */
export class MeshClient {
  /** Own peer id, in text. */
  readonly id: string
  readonly #identity: Identity
  readonly #platform: Platform
  readonly #signal: SignalClient
  readonly #connections: Connections
  readonly #seq = new RecordSeq()
  readonly #swarms = new Map<string, Swarm>()
  readonly #extraIceServers: readonly RtcIceServer[]
  readonly #closeWithSwarm: boolean
  #closing: Promise<void> | undefined

  /** Clients are made by `createClient`. */
  constructor(platform: Platform, identity: Identity, origin: string, options: ClientOptions, closeWithSwarm = false) {
    const { clock, random } = platform
    this.#closeWithSwarm = closeWithSwarm
    this.#platform = platform
    this.#identity = identity
    this.#extraIceServers = options.iceServers ?? []
    this.id = formatPeerId(identity.key.publicKey)
    this.#signal = new SignalClient({
      transport: platform.connect(origin),
      origin,
      key: identity.key,
      order: new SessionOrder(clock.wallMs()),
      clock,
      random,
      serverKeys: options.serverKey && [options.serverKey],
      events: {
        opened: () => this.#each((swarm) => swarm.opened()),
        connected: () => this.#onConnected(),
        members: (event) => this.#swarms.get(toHex(event.topic))?.members(event),
        message: (envelope) => this.#connections.receive(envelope),
        gap: () => this.#each((swarm) => swarm.gap()),
        draining: () => {},
        state: (state) => this.#onSignalState(state),
      },
    })
    this.#connections = new Connections({
      clock,
      random,
      key: identity.key,
      aead: platform.aead,
      rtc: options.rtc === null ? undefined : (options.rtc ?? platform.rtc),
      iceServers: () => [...(this.#signal.session?.iceServers ?? []), ...this.#extraIceServers],
      sessions: () => (this.#signal.session ? [this.#signal.session] : []),
      relayUp: () => this.#signal.state.kind === 'connected',
      send: (envelope) => this.#signal.send(envelope),
    })
    this.#signal.start()
  }

  /** Whether the signaling server is connected, and if not, why. */
  get signalState(): SignalState {
    return this.#signal.state
  }

  /**
   * Joins a party's swarm. Resolves when the directory has this peer; tries again and again while the server cannot be
   * reached. Rejects with ADDRESS_INVALID, KEY_INVALID, the server's refusal, SESSION_REPLACED, CONFIGURATION when this
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

  #onConnected(): void {
    this.#each((swarm) => swarm.connected())
    this.#connections.signalChanged()
  }

  #onSignalState(state: SignalState): void {
    if (state.kind === 'waiting') {
      this.#each((swarm) => swarm.disconnected())
      this.#connections.signalChanged()
    }
    if (state.kind === 'closed' && state.error) {
      const { error } = state
      this.#each((swarm) => swarm.fail(error))
    }
  }
}

/** Makes a client on a platform; applications use `createClient` of the package, which knows the platform. */
export async function createClientOn(
  platform: Platform,
  options: ClientOptions,
  closeWithSwarm = false,
): Promise<MeshClient> {
  const servers = typeof options.servers === 'string' ? [options.servers] : options.servers
  const [server, ...others] = servers
  if (!server) throw new MeshError(ErrorReason.CONFIGURATION, 'no signaling server is given')
  if (others.length > 0) {
    throw new MeshError(
      ErrorReason.NOT_SUPPORTED,
      `${servers.length} signaling servers are given; one is supported so far`,
    )
  }
  const origin = serverOrigin(server)
  const chosen = options.platform ?? platform
  return new MeshClient(
    chosen,
    await chooseIdentity(chosen, options.identity ?? 'default'),
    origin,
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

function fromAddress(address: string): { servers: string; party: PartyInput } {
  const { origin, party } = parseMeshAddress(address)
  if (party === undefined) {
    throw new MeshError(
      ErrorReason.ADDRESS_INVALID,
      `address "${address}" names no party; add one: mesh://host/our-party`,
    )
  }
  return { servers: origin, party }
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
