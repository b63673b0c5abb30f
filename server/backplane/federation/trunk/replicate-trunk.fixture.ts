import { createServer, type Server, Socket } from 'node:net'
import { type SigningKey, systemClock } from '@mesh/core'
import { FederationService } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { AccessPolicy } from '../../../http/access-policy.ts'
import { frontDoor } from '../../../http/front-door.ts'
import { Listener } from '../../../http/listener.ts'
import { resolveLimits, type ServerLimits } from '../../../limits/server-limits.ts'
import { silentLogger } from '../../../ops/log.ts'
import { Metrics } from '../../../ops/metrics.ts'
import { connectLane } from '../../../rpc/connect-lane.ts'
import { replicateLane } from '../../../rpc/fast-lane/replicate-lane.ts'
import { federationService } from '../../../rpc/federation-service.ts'
import { errorMapping } from '../../../rpc/interceptors.ts'
import type { NeighboursOptions } from './neighbours.ts'
import { ReplicateTrunk } from './replicate-trunk.ts'
import { TestServer } from './trunk.fixture.ts'

export type Lane = 'fast' | 'full'

export interface LoopbackOptions extends Partial<Omit<NeighboursOptions, 'limits' | 'trunk' | 'key'>> {
  readonly limits?: Partial<ServerLimits>
  /** 0: any. */
  readonly port?: number
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly ca?: string
  /** Whether calls come in by the fast lane, as they do at a server, or by Connect's. Default: fast. */
  readonly lane?: Lane
  /** Ports of relays before it, under which it is called too. */
  readonly relayPorts?: readonly number[]
}

/** The federation of one server behind its real listener: everything between a socket and the channels. */
export class LoopbackServer {
  readonly listener: Listener
  readonly trunk: ReplicateTrunk
  readonly test: TestServer
  readonly url: string
  readonly port: number

  private constructor(
    key: SigningKey,
    options: LoopbackOptions,
    listener: Listener,
    trunk: ReplicateTrunk,
    port: number,
  ) {
    const { limits, tls, ca: _ca, port: _port, lane: _lane, relayPorts: _relays, ...rest } = options
    this.listener = listener
    this.trunk = trunk
    this.port = port
    this.url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
    this.test = new TestServer({ key, trunk, clock: systemClock, ...(limits && { limits }), ...rest })
  }

  static async listen(key: SigningKey, options: LoopbackOptions = {}): Promise<LoopbackServer> {
    const limits = resolveLimits(options.limits)
    const clock = systemClock
    const host = '127.0.0.1'
    const trunk = new ReplicateTrunk({ limits, clock, ca: options.ca })
    const metrics = new Metrics()
    const core = { limits, clock, metrics, log: silentLogger }
    const full = connectLane({
      core,
      interceptors: [errorMapping(silentLogger, metrics)],
      routes: (router) => router.service(FederationService, federationService(trunk.serve)),
    })
    let handler: ReturnType<typeof frontDoor> = () => {}
    const listener: Listener = new Listener({
      host,
      port: options.port ?? 0,
      tls: options.tls,
      limits,
      clock,
      handler: (request, response) => handler(request, response),
      onAcceptError: () => {},
    })
    const port = await listener.listen()
    const allowedHosts = [port, ...(options.relayPorts ?? [])].map((known) => `${host}:${known}`)
    handler = frontDoor({
      policy: new AccessPolicy({ host, port, allowedHosts, allowedOrigins: undefined }),
      guard: listener.guard,
      lanes: options.lane === 'full' ? [full] : [replicateLane(core, trunk.accept), full],
      pages: new Map(),
      maxHeaderBytes: limits.http2MaxHeaderBytes,
      trustedProxies: 0,
      fallback: undefined,
      onRefused: () => {},
    })
    return new LoopbackServer(key, options, listener, trunk, port)
  }

  /** As a server stops: the federation first, then the connections. */
  async stop(): Promise<void> {
    const closed = this.listener.stopAccepting()
    await this.test.neighbours.close()
    this.listener.guard.drain()
    await closed
    this.listener.dispose()
  }

  /** As a server dies: every connection is cut at once. */
  async kill(): Promise<void> {
    const closed = this.listener.stopAccepting()
    this.listener.destroyConnections()
    await this.test.neighbours.close()
    await closed
    this.listener.dispose()
  }
}

/** How long a slow line carries at once, in seconds. */
const SLICE_S = 0.01

/** A line that can be slow, and that can go silent, as when somebody pulls the plug: bytes that come are dropped, and nobody is told. */
export class Relay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #silent = false
  /** Bytes per second towards the server. */
  #rate = Number.POSITIVE_INFINITY

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(port: () => number): Promise<Relay & { readonly port: number }> {
    const server = createServer()
    const relay = new Relay(server)
    server.on('connection', (near) => {
      const far = relay.#keep(new Socket())
      relay.#keep(near)
      far.connect(port(), '127.0.0.1')
      relay.#pass(near, far, () => relay.#rate)
      relay.#pass(far, near, () => Number.POSITIVE_INFINITY)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return Object.assign(relay, { port: (server.address() as { port: number }).port })
  }

  /** From now on the way to the server takes its time; the way back is as fast as ever. */
  slow(bytesPerSecond: number): void {
    this.#rate = bytesPerSecond
  }

  silence(): void {
    this.#silent = true
  }

  restore(): void {
    this.#silent = false
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }

  #pass(from: Socket, to: Socket, rate: () => number): void {
    from.on('data', async (bytes: Buffer) => {
      if (this.#silent) return
      const step = Math.min(bytes.length, Math.ceil(rate() * SLICE_S))
      if (step === bytes.length) return void to.write(bytes)
      from.pause()
      for (let at = 0; at < bytes.length; at += step) {
        to.write(bytes.subarray(at, at + step))
        await new Promise((resolve) => setTimeout(resolve, 1_000 * SLICE_S))
      }
      from.resume()
    })
    from.on('close', () => {
      if (!this.#silent) to.destroy()
    })
  }
}
