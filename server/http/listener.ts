import { createServer as createHttp1Server, type Server as Http1Server } from 'node:http'
import { createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { Clock } from '@mesh/core'
import { MAX_OUTSTANDING_PINGS } from '../http2-liveness.ts'
import type { ServerLimits } from '../limits/server-limits.ts'
import { ConnectionGuard, type GuardedConnection } from './connection-guard.ts'
import { sniffProtocol } from './preface.ts'
import type { NodeHandler } from './request.ts'

export interface ListenerOptions {
  readonly host: string
  /** 0 for any free port. */
  readonly port: number
  readonly tls: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly handler: NodeHandler
  /** A connection could not be accepted, for example for want of file descriptors. The server goes on. */
  readonly onAcceptError: (error: Error) => void
}

/** How often HTTP/1.1 deadlines are checked; a request may last this much longer than allowed. */
const HTTP1_CHECK_MS = 1_000

/** Idle time after which an HTTP/1.1 connection is closed. Above common proxies' 60 s, so that they close first. */
const HTTP1_KEEP_ALIVE_MS = 65_000

/**
 * One port for everything. A plain connection is recognised by its first bytes, an encrypted one by ALPN; both then go to
 * the same HTTP/1.1 or HTTP/2 server, which never listen themselves.
 */
export class Listener {
  readonly #options: ListenerOptions
  readonly #guard: ConnectionGuard
  readonly #http1: Http1Server
  readonly #http2: Http2Server
  readonly #front: NetServer
  /** What is under encrypted connections: the guard knows those only once their handshake is complete. */
  readonly #underlying = new Set<Socket>()
  /** The connection that is being handed to the HTTP/2 server, for its 'session' event. */
  #handingOver: GuardedConnection | undefined

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#guard = new ConnectionGuard(options.limits, options.clock)
    this.#http1 = http1Server(options)
    this.#http2 = http2Server(options)
    this.#http2.on('session', (session) => {
      if (this.#handingOver !== undefined) this.#guard.upgrade(this.#handingOver, session)
    })
    this.#front = this.#frontServer()
    this.#front.maxConnections = options.limits.maxConnections
  }

  get guard(): ConnectionGuard {
    return this.#guard
  }

  /** Starts to listen; resolves with the port. Rejects with the system's error (EADDRINUSE, EACCES). */
  listen(): Promise<number> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#front.once('error', reject)
      this.#front.listen({ host, port }, () => {
        this.#front.off('error', reject)
        this.#front.on('error', this.#options.onAcceptError)
        // What makes http.Server watch its deadlines is normally that it listens itself.
        this.#http1.emit('listening')
        resolve((this.#front.address() as AddressInfo).port)
      })
    })
  }

  /** Takes no further connections. Those that are open stay. */
  stopAccepting(): Promise<void> {
    return new Promise((resolve) => {
      this.#front.close(() => resolve())
    })
  }

  /** Cuts every connection. */
  destroyConnections(): void {
    for (const socket of this.#underlying) socket.destroy()
    this.#guard.destroyAll()
  }

  /** Stops the HTTP/1.1 deadline checks. To be called when no connection is left. */
  dispose(): void {
    this.#http1.close()
    this.#http2.close()
  }

  #frontServer(): NetServer {
    const { tls } = this.#options
    if (tls === undefined) return createNetServer({ noDelay: true }, (socket) => this.#onPlain(socket))
    const server = createTlsServer({
      cert: tls.cert,
      key: tls.key,
      ALPNProtocols: ['h2', 'http/1.1'],
      noDelay: true,
      handshakeTimeout: this.#options.limits.unauthenticatedMs,
    })
    server.on('connection', (socket: Socket) => {
      this.#underlying.add(socket)
      socket.once('close', () => this.#underlying.delete(socket))
    })
    server.on('secureConnection', (socket: TLSSocket) => {
      const connection = this.#accept(socket)
      this.#handOver(connection, socket.alpnProtocol === 'h2' ? 'h2' : 'h1')
    })
    return server
  }

  #onPlain(socket: Socket): void {
    const connection = this.#accept(socket)
    sniffProtocol(socket, (protocol) => this.#handOver(connection, protocol))
  }

  #accept(socket: Socket): GuardedConnection {
    // A reset by the client is no event for anybody; without a listener it would end the process.
    socket.on('error', () => socket.destroy())
    return this.#guard.accept(socket)
  }

  #handOver(connection: GuardedConnection, protocol: 'h1' | 'h2'): void {
    if (protocol === 'h1') {
      this.#http1.emit('connection', connection.socket)
      connection.socket.resume()
      return
    }
    this.#handingOver = connection
    this.#http2.emit('connection', connection.socket)
    this.#handingOver = undefined
  }
}

function http1Server({ limits, handler }: ListenerOptions): Http1Server {
  const server = createHttp1Server(
    {
      headersTimeout: limits.httpHeaderMs,
      requestTimeout: limits.httpRequestMs,
      connectionsCheckingInterval: HTTP1_CHECK_MS,
      maxHeaderSize: limits.http2MaxHeaderBytes,
      keepAliveTimeout: HTTP1_KEEP_ALIVE_MS,
    },
    handler,
  )
  // Malformed requests: Node's own answer (400, 408, 431), then the end of the connection.
  return server
}

function http2Server({ limits, handler }: ListenerOptions): Http2Server {
  const server = createHttp2Server(
    {
      settings: {
        maxConcurrentStreams: limits.http2MaxStreams,
        maxHeaderListSize: limits.http2MaxHeaderBytes,
        enableConnectProtocol: false,
      },
      maxHeaderListPairs: 64,
      maxOutstandingPings: MAX_OUTSTANDING_PINGS,
      // Rapid reset: streams that a client opens and resets at once cost the server work and the client none.
      streamResetBurst: limits.http2ResetBurst,
      streamResetRate: limits.http2ResetsPerSecond,
    },
    handler,
  )
  // Per-connection failures close that connection; there is nobody to tell.
  server.on('sessionError', () => {})
  return server
}
