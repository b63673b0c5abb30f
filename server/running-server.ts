import { ErrorReason, type SigningKey } from '@mesh/core'
import { Health } from '@mesh/protocol/grpc/health/v1/health_pb'
import { FederationService } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { NoticeKind, SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { createDomain, type Domain } from './domain.ts'
import { createFederation, type Federation } from './federation.ts'
import { AccessPolicy } from './http/access-policy.ts'
import { hostOf, isLoopbackHost } from './http/authority.ts'
import { type CallLane, frontDoor, type OperatorPage } from './http/front-door.ts'
import { Listener } from './http/listener.ts'
import { type NodeHandler, respondText } from './http/request.ts'
import { AddressQuota } from './limits/address-quota.ts'
import { renderFederation } from './ops/federation-status.ts'
import { HealthStatus } from './ops/health.ts'
import { describeCause, type Logger } from './ops/log.ts'
import { type Gauges, METRICS_TYPE, Metrics } from './ops/metrics.ts'
import type { ResolvedOptions } from './options.ts'
import { connectLane } from './rpc/connect-lane.ts'
import { fastLane } from './rpc/fast-lane/fast-lane.ts'
import { replicateLane } from './rpc/fast-lane/replicate-lane.ts'
import { federationService } from './rpc/federation-service.ts'
import { healthService } from './rpc/health-service.ts'
import { errorMapping } from './rpc/interceptors.ts'
import { draining } from './rpc/operations/authenticate.ts'
import type { SignalCore } from './rpc/operations/signal-core.ts'
import { signalService } from './rpc/signal-service.ts'
import { Challenges } from './session/challenges.ts'
import { encodeEventBody } from './session/event-codec.ts'
import { iceServersFor } from './session/ice-servers.ts'
import type { StreamEnding } from './session/session-stream.ts'
import { Tokens } from './session/tokens.ts'

/** Where a server can be reached. */
export interface ServerAddress {
  /** For clients on this machine, or of the first allowed host. */
  readonly origin: string
  readonly host: string
  readonly port: number
}

/** What a server holds right now. */
export interface ServerStats {
  readonly sessions: number
  readonly streams: number
  readonly topics: number
  readonly members: number
  readonly heldEnvelopes: number
  readonly connections: number
  /** Rows of other servers: visible, or kept hidden while their server is silent. */
  readonly replicatedRows: number
}

const NO_STATS: ServerStats = {
  sessions: 0,
  streams: 0,
  topics: 0,
  members: 0,
  heldEnvelopes: 0,
  connections: 0,
  replicatedRows: 0,
}

/** One run of a server, from listen to close: everything it holds, wired together. */
export class RunningServer {
  readonly #options: ResolvedOptions
  readonly #metrics = new Metrics()
  readonly #health = new HealthStatus()
  readonly #stopped = new AbortController()
  readonly #federation: Federation | undefined
  readonly #domain: Domain
  readonly #core: SignalCore
  readonly #listener: Listener
  #handler: NodeHandler = () => {}
  #drainDeadlineMs: number | undefined
  #startedMs = 0

  constructor(options: ResolvedOptions, key: SigningKey) {
    this.#options = options
    const { limits, clock, random, log, host, port, tls } = options
    this.#federation = createFederation(options, key, this.#metrics)
    this.#domain = createDomain({
      limits,
      clock,
      random,
      backplane: this.#federation?.createBackplane,
      onSessionEnd: (end) => this.#metrics.sessionsEnded.add(end.kind),
      onStreamEnded: (ending) => this.#onStreamEnded(ending),
    })
    const { backplane, sessions, memberships, router } = this.#domain
    backplane.watch((change) => this.#metrics.membershipChanges.add(change.kind))
    const { iceServers, turn } = options
    const { turnCredentialTtlMs } = limits
    this.#core = {
      key,
      limits,
      clock,
      challenges: new Challenges(limits, clock, random),
      tokens: new Tokens(clock, random),
      sessions,
      memberships,
      router,
      backplane,
      addressQuota: new AddressQuota(limits, clock),
      iceServers: () => iceServersFor({ iceServers, turn, turnCredentialTtlMs, clock, random }),
      drainingMs: () => this.#drainingMs(),
      metrics: this.#metrics,
      log,
    }
    const handler: NodeHandler = (request, response) => this.#handler(request, response)
    const onAcceptError = (error: Error): void => log('warn', 'accept_failed', describeCause(error))
    this.#listener = new Listener({ host, port, tls, limits, clock, handler, onAcceptError })
  }

  get stats(): ServerStats {
    const { topics, members } = this.#domain.directory.totals
    return {
      sessions: this.#domain.sessions.size,
      streams: this.#domain.sessions.streamCount,
      topics,
      members,
      heldEnvelopes: this.#core.router.heldCount,
      connections: this.#listener.guard.size,
      replicatedRows: this.#federation?.replicatedRows ?? 0,
    }
  }

  /** Starts to listen. @throws MeshError CONFIGURATION, or the system's error (EADDRINUSE, EACCES). */
  async start(): Promise<ServerAddress> {
    const { host, allowedHosts, allowedOrigins, limits, tls, clock, log } = this.#options
    // The first check of the policy needs no port: nothing listens when the configuration is wrong.
    new AccessPolicy({ host, port: this.#options.port, allowedHosts, allowedOrigins })
    const port = await this.#listener.listen()
    const policy = new AccessPolicy({ host, port, allowedHosts, allowedOrigins })
    this.#handler = this.#frontDoor(policy)
    this.#startedMs = clock.monotonicMs()
    this.#health.set('serving')
    this.#federation?.start()
    log('info', 'listening', { host, port, tls: tls !== undefined, maxSessions: limits.maxSessions })
    return { origin: originOf(this.#options, port), host, port }
  }

  /**
   * Stops: no new connections and no new calls; streams are told the deadline and may finish; then they are ended, then the
   * connections are. Resolves when nothing is left that keeps the process alive, at most `drainMs + streamEndMs` later.
   */
  async stop(drainMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, limits, log } = this.#options
    log('info', 'draining', {
      drainMs,
      sessions: this.#domain.sessions.size,
      streams: this.#domain.sessions.streamCount,
    })
    this.#health.set('not-serving')
    this.#drainDeadlineMs = clock.monotonicMs() + drainMs
    const closed = this.#listener.stopAccepting()
    const cutAll = (): void => this.#listener.destroyConnections()
    // The last notice and the closing of connections fit into the deadline too.
    const streamEndMs = Math.min(limits.streamEndMs, Math.ceil(drainMs / 2))
    this.#announceDrain(drainMs - streamEndMs)
    await this.#streamsFinish(drainMs - streamEndMs, signal)
    const ending = { notice: NoticeKind.DRAINING, error: draining(limits.takeoverMs) }
    for (const session of this.#domain.sessions) session.endStreams(ending)
    this.#stopped.abort()
    this.#listener.guard.drain()
    const cut = clock.schedule(drainMs === 0 ? limits.streamEndMs : streamEndMs, cutAll, { keepAlive: true })
    if (signal?.aborted === true) cutAll()
    else signal?.addEventListener('abort', cutAll, { once: true })
    await Promise.all([closed, this.#federation?.close()])
    cut.cancel()
    signal?.removeEventListener('abort', cutAll)
    await this.#dispose()
    log('info', 'stopped')
  }

  #frontDoor(policy: AccessPolicy): NodeHandler {
    const { host, trustedProxies, fallback } = this.#options
    const serveMetrics = this.#options.metrics ?? isLoopbackHost(host)
    return frontDoor({
      policy,
      guard: this.#listener.guard,
      lanes: [fastLane(this.#core), replicateLane(this.#core, this.#federation?.accept), this.#fullLane()],
      pages: serveMetrics ? this.#operatorPages() : new Map(),
      maxHeaderBytes: this.#options.limits.http2MaxHeaderBytes,
      trustedProxies,
      fallback: fallback && guarded(fallback, this.#options.log),
      onRefused: (why) => this.#metrics.rejectedRequests.add(why),
    })
  }

  #fullLane(): CallLane {
    const core = this.#core
    const health = healthService({
      health: this.#health,
      services: [SignalService.typeName],
      maxWatches: core.limits.maxHealthWatches,
      stopped: this.#stopped.signal,
    })
    return connectLane({
      core,
      interceptors: [errorMapping(core.log, core.metrics)],
      routes: (router) =>
        router
          .service(SignalService, signalService(core))
          .service(FederationService, federationService(this.#federation?.serve))
          .service(Health, health),
    })
  }

  #operatorPages(): ReadonlyMap<string, OperatorPage> {
    const gauges = (): Gauges => {
      const uptimeSeconds = Math.floor((this.#options.clock.monotonicMs() - this.#startedMs) / 1_000)
      return { ...this.stats, uptimeSeconds }
    }
    return new Map([
      [
        '/metrics',
        { contentType: METRICS_TYPE, text: () => this.#metrics.render(gauges(), this.#federation?.status()) },
      ],
      [
        '/federation',
        { contentType: 'application/json', text: () => renderFederation(this.#federation?.status(), gauges()) },
      ],
    ])
  }

  #drainingMs(): number | undefined {
    if (this.#drainDeadlineMs === undefined) return undefined
    return Math.max(1, this.#drainDeadlineMs - this.#options.clock.monotonicMs())
  }

  /** `deadlineMs`: until streams are ended. */
  #announceDrain(deadlineMs: number): void {
    const kind = NoticeKind.DRAINING
    const { successor, successorKey } = this.#options
    const detail = draining(deadlineMs).toDetail()
    const value = { kind, deadlineMs, successor, successorKey, detail }
    const body = encodeEventBody({ case: 'notice', value })
    for (const session of this.#domain.sessions) session.notify(kind, body)
  }

  async #streamsFinish(drainMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (drainMs === 0 || signal?.aborted === true) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.schedule(drainMs, resolve, { keepAlive: true })
      const finish = (): void => {
        timer.cancel()
        resolve()
      }
      signal?.addEventListener('abort', finish, { once: true })
      void this.#domain.sessions.whenNoStreams().then(finish)
    })
  }

  #onStreamEnded({ notice, error }: StreamEnding): void {
    const label = STREAM_END_LABELS.get(notice) ?? 'session'
    this.#metrics.streamsEnded.add(label)
    if (error.reason === ErrorReason.LIMIT_EXCEEDED)
      this.#options.log('warn', 'slow_reader', { limit: error.limit ?? '' })
  }

  async #dispose(): Promise<void> {
    await this.#domain.close()
    this.#listener.dispose()
  }
}

/** A page that fails is a fault of the program around the server; it does not take the server along. */
function guarded(fallback: NodeHandler, log: Logger): NodeHandler {
  return (request, response) => {
    try {
      fallback(request, response)
    } catch (error) {
      log('error', 'fallback_failed', describeCause(error))
      if (response.headersSent) response.destroy()
      else respondText(response, 500, 'The page failed.')
    }
  }
}

const STREAM_END_LABELS: ReadonlyMap<NoticeKind, 'slow_reader' | 'token_expired' | 'draining'> = new Map([
  [NoticeKind.SLOW_READER, 'slow_reader'],
  [NoticeKind.TOKEN_EXPIRED, 'token_expired'],
  [NoticeKind.DRAINING, 'draining'],
])

/** What a server that does not run holds. */
export function noStats(): ServerStats {
  return NO_STATS
}

/** An origin that passes the server's own allow-list. */
function originOf({ tls, allowedHosts, host }: ResolvedOptions, port: number): string {
  const scheme = tls === undefined ? 'http' : 'https'
  const name = allowedHosts?.[0] ?? (host.includes(':') ? `[${host}]` : host)
  const hasPort = hostOf(name) !== name && !name.endsWith(']')
  return new URL(`${scheme}://${hasPort ? name : `${name}:${port}`}`).origin
}
