import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import { Http2Liveness, MAX_OUTSTANDING_PINGS } from '../../../http2-liveness.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'

export interface ReplicateConnectionOptions {
  readonly clock: Clock
  readonly limits: ServerLimits
  /** PEM certificates that sign those of other servers; default: the authorities that Node trusts. */
  readonly ca: string | Buffer | undefined
  /** The connection is closed, however that came. */
  readonly onClose: () => void
}

/** 8 MiB for the stream and the connection: 200 MB/s on a line of 40 ms, where the default of 64 KiB would allow 1.6. */
export const WINDOW_BYTES = 8 * 1_024 * 1_024

/** A ping and the time for its answer. */
export function pingsBetweenServers({ federationPingMs }: ServerLimits): { pingMs: number; deadAfterMs: number } {
  return { pingMs: federationPingMs, deadAfterMs: 2 * federationPingMs }
}

/**
 * One HTTP/2 connection for one call. A connection that calls share brings a race: a call that begins while the other side says
 * GOAWAY gets a stream that fails before anybody listens to it, and that ends the process. Here the connection belongs to its
 * call, and every failure has a listener from the beginning.
 */
export class ReplicateConnection {
  readonly #origin: string
  readonly #options: ReplicateConnectionOptions
  #session: ClientHttp2Session | undefined
  #liveness: Http2Liveness | undefined
  #destroyed = false

  /** `url`: an http or https origin. */
  constructor(url: string, options: ReplicateConnectionOptions) {
    this.#origin = new URL(url).origin
    this.#options = options
  }

  /** Round trip of the last ping, in ms. */
  get rttMs(): number | undefined {
    return this.#liveness?.rttMs
  }

  /** Connects, and opens the one stream. Rejects with the system's error, or UNREACHABLE after `destroy`. */
  async call(path: string, headers: OutgoingHttpHeaders): Promise<ClientHttp2Stream> {
    const session = await this.#connect()
    const stream = session.request({ ...headers, ':method': 'POST', ':path': path })
    // Whoever called adds a listener a turn later.
    stream.on('error', () => {})
    return stream
  }

  /** Cuts the connection, whatever its state. Idempotent. */
  destroy(): void {
    this.#destroyed = true
    this.#session?.destroy()
  }

  #connect(): Promise<ClientHttp2Session> {
    const { clock, limits, ca, onClose } = this.#options
    return new Promise((resolve, reject) => {
      if (this.#destroyed || this.#session !== undefined) {
        reject(new MeshError(ErrorReason.UNREACHABLE, 'the connection was closed'))
        return
      }
      const session = connect(this.#origin, {
        settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
        maxOutstandingPings: MAX_OUTSTANDING_PINGS,
        ...(ca === undefined ? {} : { ca }),
      })
      this.#session = session
      // For good: a connection may fail at any time, also when nobody waits for it.
      session.on('error', reject)
      session.once('close', () => {
        reject(new MeshError(ErrorReason.UNREACHABLE, 'the connection was closed'))
        onClose()
      })
      session.once('connect', () => {
        // Somebody who answers after this side gave up is still announced.
        if (session.destroyed) return
        session.setLocalWindowSize(WINDOW_BYTES)
        this.#liveness = new Http2Liveness(session, { clock, ...pingsBetweenServers(limits) })
        resolve(session)
      })
    })
  }
}
