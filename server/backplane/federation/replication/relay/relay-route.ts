import type { ByteKey } from '../../../../byte-key.ts'

export interface RelayRouteOptions {
  /** How long a server is waited for that was asked and passed nothing on. */
  readonly patienceMs: number
  /** How often a server that passes something on is asked to go on. */
  readonly repeatMs: number
}

/** Which other server is asked for an origin that cannot be heard itself: one at a time, in turn, until one answers. */
export class RelayRoute {
  readonly #options: RelayRouteOptions
  /** Since when the origin has no stream with this server. */
  readonly silentSinceMs: number
  #via: ByteKey | undefined
  #askedMs = Number.NEGATIVE_INFINITY
  #answeredMs = Number.NEGATIVE_INFINITY

  constructor(silentSinceMs: number, options: RelayRouteOptions) {
    this.silentSinceMs = silentSinceMs
    this.#options = options
  }

  /** The server that was asked last. */
  get via(): ByteKey | undefined {
    return this.#via
  }

  /** Something came from `via`. */
  answered(nowMs: number): void {
    this.#answeredMs = nowMs
  }

  /** Whether what came has a gap that is to be asked for at once; not again before that can have come. */
  askAgain(nowMs: number): boolean {
    if (nowMs < this.#askedMs + this.#options.patienceMs) return false
    this.#askedMs = nowMs
    return true
  }

  /** The server to ask now, if it is time: the same one while it answers, else the next of `servers`. */
  ask(servers: readonly ByteKey[], nowMs: number): ByteKey | undefined {
    const { patienceMs, repeatMs } = this.#options
    const isAnswering = this.#answeredMs >= this.#askedMs && this.#via !== undefined && servers.includes(this.#via)
    if (nowMs < this.#askedMs + (isAnswering ? repeatMs : patienceMs)) return undefined
    if (!isAnswering) this.#via = servers[(servers.indexOf(this.#via ?? '') + 1) % servers.length]
    if (this.#via !== undefined) this.#askedMs = nowMs
    return this.#via
  }
}
