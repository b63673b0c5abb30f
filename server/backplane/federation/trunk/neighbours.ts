import {
  Backoff,
  type Clock,
  type Ed25519Verify,
  ErrorReason,
  MeshError,
  type Random,
  type SigningKey,
  TokenBucket,
  toHex,
} from '@mesh/core'
import { Channel, type OriginPosition } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey, bytesOfKey } from '../../../byte-key.ts'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import type { NeighbourStatus } from '../../../ops/federation-status.ts'
import { describeCause, type LogFields, type Logger } from '../../../ops/log.ts'
import type { FederationChannel } from '../channel.ts'
import { Line } from './line.ts'
import { type NodeRole, NodeSession } from './node-session.ts'
import { ServerQuota } from './quota.ts'
import { isRefusal } from './refusal.ts'
import type { ServerAddress, StreamEvents, Trunk, TrunkStream } from './trunk.ts'

export interface NeighboursOptions {
  readonly key: SigningKey
  /** Servers of another realm are refused. */
  readonly realm: string
  /** Servers that are called. */
  readonly addresses: readonly ServerAddress[]
  /** Further servers whose calls are taken. */
  readonly allowed: ReadonlySet<ByteKey>
  /** This server's epoch and what it holds, for a Hello. */
  readonly hello: () => { readonly epoch: bigint; readonly have: readonly OriginPosition[] }
  readonly channels: { readonly directory: FederationChannel; readonly messages: FederationChannel }
  /** Closed with the neighbours. */
  readonly trunk: Trunk
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Default: WebCrypto. */
  readonly verify?: Ed25519Verify
  /** A stream was refused, or ended for what the other server did; unlike the log, told of every time. */
  readonly onRefused?: (error: MeshError) => void
}

interface Server {
  readonly key: ByteKey
  readonly url: string | undefined
  readonly quota: ServerQuota
  readonly lines: ReadonlyMap<Channel, Line>
  readonly patience: Backoff
  /** What it did, and until when its calls are refused for it. */
  refused: { readonly error: MeshError; readonly untilMs: number } | undefined
}

const CHANNELS = [Channel.DIRECTORY, Channel.MESSAGES] as const

/** How long the calls of a server are refused after it broke the rules, more every time it does. */
const PATIENCE = { initialMs: 10_000, maxMs: 300_000, floorMs: 2_000 }

/** A server that kept the rules for so long, after it was heard again, is as good as any. */
const FORGIVEN_MS = 600_000

/** Refusals of strangers that are logged: they may call as often as they like. Servers that proved themselves have to rest. */
const LOGGED_REFUSALS = { perSecond: 1, burst: 20 }

/**
 * The servers that this one works with, and the two streams it keeps with each: it calls those whose address it knows, takes
 * the calls of all it knows, and tells the two channels which streams are up. Nobody else's stream lives longer than its Hello.
 */
export class Neighbours {
  readonly #options: NeighboursOptions
  readonly #servers = new Map<ByteKey, Server>()
  readonly #unproven = new Set<NodeSession>()
  readonly #loggedRefusals: TokenBucket
  #closed = false

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.#loggedRefusals = new TokenBucket({ ...LOGGED_REFUSALS, clock: options.clock })
    for (const key of options.allowed) this.#add(key, undefined)
    for (const address of options.addresses) this.#add(byteKey(address.key), address)
    options.trunk.onStream((stream) => this.#accept(stream))
  }

  /** Calls every server whose address is known. */
  start(): void {
    for (const { lines } of this.#servers.values()) for (const line of lines.values()) line.dial()
  }

  /** The channel has something for the server; nothing happens while it is not connected. */
  wake(channel: Channel, server: ByteKey): void {
    this.#servers.get(server)?.lines.get(channel)?.session?.wake()
  }

  /** Ends both streams with a server that broke the rules, tells it why, and does not hear it for a while. */
  refuse(server: ByteKey, error: MeshError): void {
    const entry = this.#servers.get(server)
    if (entry === undefined) return
    this.#punish(entry, error)
    for (const line of entry.lines.values()) line.refuse(error)
  }

  /** Servers whose stream is up. */
  connected(channel: Channel): ByteKey[] {
    return [...this.#servers.values()].filter(({ lines }) => lines.get(channel)?.session).map(({ key }) => key)
  }

  /** Every server this one knows, for people. */
  status(): NeighbourStatus[] {
    return [...this.#servers.values()].map(({ key, url, lines }) => {
      const directory = lines.get(Channel.DIRECTORY)
      const messages = lines.get(Channel.MESSAGES)
      const error = directory?.lastError ?? messages?.lastError
      return {
        key: bytesOfKey(key),
        url,
        directory: directory?.session !== undefined,
        messages: messages?.session !== undefined,
        upMs: { directory: directory?.upMs, messages: messages?.upMs },
        rttMs: messages?.session?.rttMs ?? directory?.session?.rttMs,
        lastError: error && `${error.reasonName}: ${error.message}`,
      }
    })
  }

  /** Sends what is ready, says that this server stops, and closes every stream and the trunk. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const error = stopping()
    for (const { lines } of this.#servers.values()) for (const line of lines.values()) line.stop(error)
    for (const session of this.#unproven) session.end(error)
    await this.#options.trunk.close()
  }

  #add(key: ByteKey, address: ServerAddress | undefined): void {
    const { limits, clock, random } = this.#options
    const lines = new Map(CHANNELS.map((channel) => [channel, this.#line(key, channel, address)]))
    const patience = new Backoff({ ...PATIENCE, random })
    const quota = new ServerQuota(limits, clock)
    this.#servers.set(key, { key, url: address?.url, quota, lines, patience, refused: undefined })
  }

  #line(server: ByteKey, channel: Channel, address: ServerAddress | undefined): Line {
    const { key, clock, random, limits, log } = this.#options
    const fields = { server: toHex(bytesOfKey(server)), channel: nameOf(channel) }
    return new Line({
      self: byteKey(key.publicKey),
      server,
      clock,
      random,
      handshakeMs: limits.federationHandshakeMs,
      dial: address && (() => this.#dial(address, channel)),
      restMs: () => this.#restMs(this.#servers.get(server) as Server),
      onUp: (neighbour) => this.#channelOf(channel).up(neighbour),
      onDown: (error) => this.#channelOf(channel).down(server, error),
      onConnected: () => log('info', 'federation_up', fields),
      onLost: (error) => log('warn', 'federation_down', { ...fields, ...described(error) }),
    })
  }

  #dial(address: ServerAddress, channel: Channel): NodeSession {
    const session = this.#session({ kind: 'dialler', serverKey: address.key, channel })
    session.start(this.#options.trunk.dial(address, channel, session))
    return session
  }

  #accept(stream: TrunkStream): StreamEvents {
    const session = this.#session({ kind: 'acceptor', admit: (server) => this.#refusalOf(server) })
    this.#makeRoom()
    this.#unproven.add(session)
    session.start(stream)
    return session
  }

  #session(role: NodeRole): NodeSession {
    const { key, realm, hello, limits, clock, random, verify } = this.#options
    return new NodeSession(role, {
      key,
      realm,
      hello,
      limits,
      clock,
      random,
      verify,
      channelOf: (channel) => this.#channelOf(channel),
      // Asked for a server that was admitted, and for one that was called.
      quotaOf: (server) => (this.#servers.get(server) as Server).quota,
      onOpen: (session, { neighbour, channel }) => {
        this.#unproven.delete(session)
        this.#servers.get(neighbour.server)?.lines.get(channel)?.offer(session, neighbour)
      },
      onEnd: (session, error, by) => this.#onEnd(session, error, by),
    })
  }

  #onEnd(session: NodeSession, error: MeshError | undefined, by: 'here' | 'there'): void {
    this.#unproven.delete(session)
    const { role, opened } = session
    const name = opened?.neighbour.server ?? (role.kind === 'dialler' ? byteKey(role.serverKey) : undefined)
    const channel = opened?.channel ?? (role.kind === 'dialler' ? role.channel : undefined)
    const server = name === undefined ? undefined : this.#servers.get(name)
    if (isRefusal(error)) this.#logRefusal(error, by, name, channel)
    // What somebody said who only claimed to be that server is not held against it.
    if (opened !== undefined && server !== undefined && by === 'here' && isRefusal(error)) this.#punish(server, error)
    if (server !== undefined && channel !== undefined) server.lines.get(channel)?.ended(session, error)
  }

  /** Why a server that says Hello is not let in. */
  #refusalOf(server: ByteKey): MeshError | undefined {
    if (this.#closed) return stopping()
    const entry = this.#servers.get(server)
    if (entry === undefined) {
      const key = toHex(bytesOfKey(server))
      return new MeshError(ErrorReason.NODE_NOT_ALLOWED, `server ${key} is none that this one works with`)
    }
    const restMs = this.#restMs(entry)
    if (entry.refused === undefined || restMs === 0) return undefined
    const { error } = entry.refused
    const { limit, limitValue, value } = error
    const facts = { ...(limit && { limit }), ...(limitValue && { limitValue }), ...(value && { value }) }
    return new MeshError(error.reason, error.message, { ...facts, retryAfterMs: restMs, retryable: false })
  }

  /** Once for what may end both streams. */
  #punish(server: Server, error: MeshError): void {
    if (this.#restMs(server) > 0) return
    const nowMs = this.#options.clock.monotonicMs()
    if (server.refused !== undefined && nowMs - server.refused.untilMs > FORGIVEN_MS) server.patience.reset()
    const restMs = Math.max(server.patience.next(), error.retryAfterMs)
    server.refused = { error, untilMs: nowMs + restMs }
  }

  #restMs({ refused }: Server): number {
    return refused === undefined ? 0 : Math.max(0, refused.untilMs - this.#options.clock.monotonicMs())
  }

  /** Streams that have proven nothing: the oldest goes. Those who mean it need two round trips; others cannot wait there. */
  #makeRoom(): void {
    const { federationMaxServers } = this.#options.limits
    if (this.#unproven.size < federationMaxServers * CHANNELS.length) return
    const [oldest] = this.#unproven
    oldest?.end(limitError('federationMaxServers', federationMaxServers, { retryable: true }))
  }

  #channelOf(channel: Channel): FederationChannel {
    const { directory, messages } = this.#options.channels
    return channel === Channel.DIRECTORY ? directory : messages
  }

  #logRefusal(error: MeshError, by: 'here' | 'there', server: ByteKey | undefined, channel: Channel | undefined): void {
    const { log, onRefused } = this.#options
    onRefused?.(error)
    if (by === 'here' && error.reason === ErrorReason.INTERNAL)
      log('error', 'internal_error', describeCause(error.cause ?? error))
    if (server === undefined && !this.#loggedRefusals.take()) return
    const fields = {
      by,
      ...(server === undefined ? {} : { server: toHex(bytesOfKey(server)) }),
      ...(channel === undefined ? {} : { channel: nameOf(channel) }),
    }
    log('warn', 'federation_refused', { ...fields, ...described(error) })
  }
}

function nameOf(channel: Channel): string {
  return channel === Channel.DIRECTORY ? 'directory' : 'messages'
}

function described(error: MeshError | undefined): LogFields {
  return error === undefined ? {} : { reason: error.reasonName, message: error.message }
}

function stopping(): MeshError {
  return new MeshError(ErrorReason.DRAINING, 'the server stops')
}
