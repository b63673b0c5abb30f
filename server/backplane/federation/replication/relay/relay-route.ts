import type { ByteKey } from '../../../../byte-key.ts'

export interface RelayRouteOptions {
  /** How long nothing may come of the origin before others are asked for it. */
  readonly silenceMs: number
  /** Within which every other server is asked once, so that the one that hears the origin is found in time. */
  readonly roundMs: number
  /** Longest time between two that are asked; after the first round, every time. */
  readonly patienceMs: number
  /** How often a server that passes something on is asked to go on. */
  readonly repeatMs: number
}

/**
 * From whom an origin is heard: itself, or else another server that passes it on. Silence decides, not streams: one that
 * lost its line looks alive for longer than rows may live. Others are asked in turn, until one of them has news.
 */
export class RelayRoute {
  readonly #options: RelayRouteOptions
  #via: ByteKey | undefined
  #heardMs: number
  #lastAsked: ByteKey = ''
  #askedMs = Number.NEGATIVE_INFINITY
  /** How many were asked since something came. */
  #asked = 0

  constructor(nowMs: number, options: RelayRouteOptions) {
    this.#heardMs = nowMs
    this.#options = options
  }

  /** The server that passes the origin on; undefined while that is heard itself, or not at all. */
  get via(): ByteKey | undefined {
    return this.#via
  }

  isSilent(nowMs: number): boolean {
    return nowMs >= this.#heardMs + this.#options.silenceMs
  }

  /** News of the origin came: through a server, or from itself. */
  heard(nowMs: number, via?: ByteKey): void {
    this.#heardMs = nowMs
    this.#via = via
    this.#asked = 0
  }

  /** This process was paused: what came meanwhile is read before anybody is asked. */
  excuse(nowMs: number): void {
    this.#heardMs = Math.max(this.#heardMs, nowMs)
  }

  /** Whether what came has a gap that is to be asked for at once; not again before that can have come. */
  askAgain(nowMs: number): boolean {
    if (nowMs < this.#askedMs + this.#options.patienceMs) return false
    this.#askedMs = nowMs
    return true
  }

  /** The server to ask now, if it is time: the one that passes the origin on, or in a silence the next of `servers`. */
  ask(servers: readonly ByteKey[], nowMs: number): ByteKey | undefined {
    if (nowMs < this.dueMs(servers.length, nowMs)) return undefined
    this.#askedMs = nowMs
    if (!this.isSilent(nowMs)) return this.#via
    this.#lastAsked = servers[(servers.indexOf(this.#lastAsked) + 1) % servers.length] as ByteKey
    this.#asked += 1
    return this.#lastAsked
  }

  /** When there is somebody to ask, of so many servers. */
  dueMs(servers: number, nowMs: number): number {
    const { silenceMs, roundMs, patienceMs, repeatMs } = this.#options
    if (servers === 0) return Number.POSITIVE_INFINITY
    const silentMs = this.#heardMs + silenceMs
    if (nowMs < silentMs) return this.#via === undefined ? silentMs : Math.min(silentMs, this.#askedMs + repeatMs)
    return this.#askedMs + (this.#asked < servers ? Math.min(patienceMs, roundMs / servers) : patienceMs)
  }
}
