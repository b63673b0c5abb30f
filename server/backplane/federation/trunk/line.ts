import { Backoff, type MeshError, type Random, type Timer } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { Neighbour } from '../channel.ts'
import { LineReport, type LineReportOptions } from './line-report.ts'
import type { NodeSession } from './node-session.ts'
import { isRefusal } from './refusal.ts'

export interface LineOptions extends LineReportOptions {
  readonly self: ByteKey
  readonly server: ByteKey
  readonly random: Random
  readonly handshakeMs: number
  /** Calls the server; undefined when its address is not known. */
  readonly dial: (() => NodeSession) | undefined
  /** For how long the server is not to be called, in ms. */
  readonly restMs: () => number
  /** A stream is up; the one before, if there was any, was told `onDown`. */
  readonly onUp: (neighbour: Neighbour) => void
  readonly onDown: (error: MeshError | undefined) => void
}

interface Current {
  readonly session: NodeSession
  readonly neighbour: Neighbour
  readonly sinceMs: number
}

/**
 * Servers that lost each other at the same moment come back within a second, and not all at once; after a long silence within
 * 5 s, half of a lease. 64 servers that are all gone cost 50 calls a second.
 */
const REDIAL = { initialMs: 250, maxMs: 5_000 }

/** After a refusal nothing changes soon: somebody has to mend a configuration, or a quota has to fill again. */
const REDIAL_REFUSED = { initialMs: 10_000, maxMs: 300_000, floorMs: 2_000 }

/** A stream that held this long has worked: the next loss is a new one. */
const STABLE_MS = 10_000

/**
 * The one stream that this server keeps with another on one channel. Both may dial; both then keep the same stream:
 *
 *  - the one dialled by the server with the lower key, when two streams cross;
 *  - the newer one, when the other cannot be alive at the far end: the same server dialled again, it has a new epoch (it
 *    restarted), or the older stream is older than two dials could cross (nobody dials while it is connected).
 *
 * The other stream ends quietly. While a stream is up, or a call is under way, nobody calls.
 */
export class Line {
  readonly #options: LineOptions
  readonly #backoff: Backoff
  readonly #patience: Backoff
  readonly #report: LineReport
  #current: Current | undefined
  #calling: NodeSession | undefined
  #timer: Timer | undefined
  #stopped = false
  #lastError: MeshError | undefined

  constructor(options: LineOptions) {
    this.#options = options
    this.#backoff = new Backoff({ ...REDIAL, random: options.random })
    this.#patience = new Backoff({ ...REDIAL_REFUSED, random: options.random })
    this.#report = new LineReport(options)
  }

  /** The stream that is up. */
  get session(): NodeSession | undefined {
    return this.#current?.session
  }

  /** For how long it has been up, in ms. */
  get upMs(): number | undefined {
    return this.#current && this.#options.clock.monotonicMs() - this.#current.sinceMs
  }

  /** Why the last stream ended, or the last call failed; undefined once a stream is up. */
  get lastError(): MeshError | undefined {
    return this.#lastError
  }

  /** Calls the server unless it is connected or called already. */
  dial(): void {
    const { dial } = this.#options
    if (dial === undefined || this.#stopped || this.#current || this.#calling) return
    this.#cancel()
    this.#calling = dial()
  }

  /** A stream with the server was proven. Keeps it, or ends it for the one that is kept. */
  offer(session: NodeSession, neighbour: Neighbour): void {
    const { self, server, clock, onUp, onDown } = this.#options
    const former = this.#current
    if (this.#stopped || (former !== undefined && !this.#replaces(session, neighbour, former))) {
      session.end()
      return
    }
    this.#current = { session, neighbour, sinceMs: clock.monotonicMs() }
    this.#cancel()
    if (former !== undefined) {
      former.session.end()
      onDown(undefined)
    }
    this.#lastError = undefined
    this.#report.up()
    onUp(neighbour)
    // A call of the higher key would lose against any stream that is up now.
    if (self > server && this.#calling !== session) this.#calling?.end()
  }

  /** A stream with the server ended, whether it was kept or not. */
  ended(session: NodeSession, error: MeshError | undefined): void {
    const current = this.#current
    const called = this.#calling === session
    if (called) this.#calling = undefined
    if (current?.session === session) {
      this.#current = undefined
      this.#lastError = error
      if (this.#options.clock.monotonicMs() - current.sinceMs >= STABLE_MS) {
        this.#backoff.reset()
        this.#patience.reset()
      }
      if (!this.#stopped) this.#report.down(error)
      this.#options.onDown(error)
    } else if (called && current === undefined && !this.#stopped) {
      this.#lastError = error
      this.#report.failed(error)
    }
    this.#dialLater(error)
  }

  /** Ends what is there, for what the server did. It is called again much later. */
  refuse(error: MeshError): void {
    this.#current?.session.end(error)
    this.#calling?.end(error)
  }

  /** Ends what is there once what is ready has gone, and calls no more. */
  stop(error: MeshError): void {
    this.#stopped = true
    this.#cancel()
    this.#report.close()
    this.#current?.session.drain(error)
    this.#calling?.end(error)
  }

  #replaces(session: NodeSession, neighbour: Neighbour, former: Current): boolean {
    const { clock, handshakeMs, self, server } = this.#options
    const dialler = this.#diallerOf(session)
    if (dialler === this.#diallerOf(former.session) || neighbour.epoch !== former.neighbour.epoch) return true
    if (clock.monotonicMs() - former.sinceMs > 2 * handshakeMs) return true
    return (dialler === self) === self < server
  }

  #diallerOf({ role }: NodeSession): ByteKey {
    return role.kind === 'dialler' ? this.#options.self : this.#options.server
  }

  #dialLater(error: MeshError | undefined): void {
    if (this.#stopped || this.#current || this.#calling || this.#timer || !this.#options.dial) return
    const backoff = isRefusal(error) ? this.#patience : this.#backoff
    const { clock, restMs } = this.#options
    const delayMs = Math.max(backoff.next(), error?.retryAfterMs ?? 0, restMs())
    this.#timer = clock.schedule(delayMs, () => {
      this.#timer = undefined
      this.dial()
    })
  }

  #cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
