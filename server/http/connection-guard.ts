import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock, Timer } from '@mesh/core'
import { Http2Liveness } from '../http2-liveness.ts'
import type { ServerLimits } from '../limits/server-limits.ts'
import { isHttp2, type NodeRequest, type NodeResponse } from './request.ts'

/** One TCP connection as the guard sees it. */
export interface GuardedConnection {
  readonly socket: Socket
  /** Set once the connection turned out to speak HTTP/2. */
  session: ServerHttp2Session | undefined
  /** A call on it was authenticated: it may stay. */
  authenticated: boolean
  /** Requests being served. */
  inFlight: number
}

/**
 * Closes connections that have no reason to stay: those that never make an authenticated call, and HTTP/2 connections
 * whose client no longer answers pings (frozen, or gone without a word).
 */
export class ConnectionGuard {
  readonly #limits: ServerLimits
  readonly #clock: Clock
  readonly #bySocket = new Map<Socket, GuardedConnection>()
  readonly #bySession = new WeakMap<object, GuardedConnection>()
  #draining = false

  constructor(limits: ServerLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  get size(): number {
    return this.#bySocket.size
  }

  /** A connection was accepted. */
  accept(socket: Socket): GuardedConnection {
    const connection: GuardedConnection = { socket, session: undefined, authenticated: false, inFlight: 0 }
    this.#bySocket.set(socket, connection)
    let timer: Timer
    const judge = (): void => {
      if (connection.authenticated) return
      if (connection.inFlight === 0) return this.#close(connection)
      timer = this.#clock.schedule(this.#limits.unauthenticatedMs, judge)
    }
    timer = this.#clock.schedule(this.#limits.unauthenticatedMs, judge)
    socket.once('close', () => {
      timer.cancel()
      this.#bySocket.delete(socket)
    })
    return connection
  }

  /** The connection speaks HTTP/2: ping it from now on. */
  upgrade(connection: GuardedConnection, session: ServerHttp2Session): void {
    connection.session = session
    this.#bySession.set(session, connection)
    const { http2PingMs, deadAfterMs } = this.#limits
    new Http2Liveness(session, { clock: this.#clock, pingMs: http2PingMs, deadAfterMs })
  }

  /** The connection a request came by; counts the request until its response is closed. */
  enter(request: NodeRequest, response: NodeResponse): GuardedConnection | undefined {
    const session = isHttp2(request) ? request.stream.session : undefined
    const connection = session ? this.#bySession.get(session) : this.#bySocket.get(request.socket as Socket)
    if (connection === undefined) return undefined
    connection.inFlight += 1
    response.once('close', () => {
      connection.inFlight -= 1
      // An HTTP/2 session that was told to close does so itself, after its last frames are out.
      if (this.#draining && connection.inFlight === 0 && connection.session === undefined) this.#close(connection)
    })
    return connection
  }

  /** Closes what is idle now or later, and asks HTTP/2 clients to open no further streams (GOAWAY). */
  drain(): void {
    this.#draining = true
    for (const connection of this.#bySocket.values()) {
      if (connection.session !== undefined || connection.inFlight === 0) this.#close(connection)
    }
  }

  /** Cuts every connection. */
  destroyAll(): void {
    for (const { session, socket } of this.#bySocket.values()) {
      session?.destroy()
      socket.destroy()
    }
  }

  /**
   * Requests in flight finish, with a GOAWAY to say that no further ones are taken. A connection without any is simply closed:
   * a GOAWAY that crosses a new request of connect-node ends that client's process with an uncaught error.
   */
  #close({ session, socket, inFlight }: GuardedConnection): void {
    if (session !== undefined && inFlight > 0) session.close()
    else socket.destroySoon()
  }
}
