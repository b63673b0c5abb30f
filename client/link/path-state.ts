import type { MeshError } from '@mesh/core'
import { RttEstimator } from './rtt.ts'

/** `relay`: sealed messages through servers. `direct`: a WebRTC data channel. */
export type PathName = 'relay' | 'direct'

/** Pongs that wait for a packet. More pings at once are not answered: the last ones will do. */
const MAX_PONGS = 4

/** Pings of `Link.ping` without an answer, per path. More are refused by failing the oldest. */
const MAX_PINGS = 8

interface WaitingPing {
  readonly sentAtMs: number
  readonly resolve: (rttMs: number) => void
  readonly reject: (error: MeshError) => void
}

/** What a link knows about one of its paths. */
export class PathState {
  readonly name: PathName
  readonly rtt = new RttEstimator()
  /** The connection says packets can go this way. */
  usable = false
  /** The path took its last packet with "full": nothing more until it says ready. */
  blocked = false
  /** Idle pings since the last packet came this way. */
  unansweredPings = 0
  /** Nothing came this way for long although something waits: the other side may sleep. Only the relay path can be. */
  silent = false
  /** When a check of the path is over that was not answered; undefined while there is none. */
  checkDueMs: number | undefined
  /** When the next idle ping is due; undefined on paths that are not watched. */
  pingDueMs: number | undefined
  /** Ids to return with the next packet this way. */
  readonly pongs: bigint[] = []
  /** Pings to send with the next packet this way. */
  readonly pings: bigint[] = []
  /** By id, oldest first. The idle pings are here too, without anybody waiting. */
  readonly #waiting = new Map<bigint, WaitingPing>()
  #pongRttMs: number | undefined

  constructor(name: PathName) {
    this.name = name
  }

  /** Round-trip time to show: of Pongs, which are answered at once, before that of delayed acknowledgements. */
  get rttMs(): number | undefined {
    return this.#pongRttMs ?? this.rtt.smoothedMs
  }

  /** Takes a ping to answer; the oldest unanswered one makes room. */
  pushPong(id: bigint): void {
    if (this.pongs.length === MAX_PONGS) this.pongs.shift()
    this.pongs.push(id)
  }

  /** Queues a ping. `resolve` gets the round-trip time in milliseconds. */
  pushPing(id: bigint, waiting: WaitingPing, refuse: () => MeshError): void {
    if (this.#waiting.size === MAX_PINGS) {
      const [oldestId, oldest] = this.#waiting.entries().next().value as [bigint, WaitingPing]
      this.#waiting.delete(oldestId)
      oldest.reject(refuse())
    }
    if (this.pings.length === MAX_PINGS) this.pings.shift()
    this.pings.push(id)
    this.#waiting.set(id, waiting)
  }

  /** Takes a Pong; one that nobody asked for is ignored. */
  pong(id: bigint, nowMs: number): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    const rttMs = nowMs - waiting.sentAtMs
    this.rtt.sample(rttMs)
    this.#pongRttMs = this.#pongRttMs === undefined ? rttMs : this.#pongRttMs + (rttMs - this.#pongRttMs) / 4
    waiting.resolve(rttMs)
  }

  /** When the oldest ping was sent. */
  get oldestPingAtMs(): number | undefined {
    return this.#waiting.values().next().value?.sentAtMs
  }

  /** Fails the pings sent at `sentAtMs` or before. */
  failPings(sentAtMs: number, error: () => MeshError): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.sentAtMs > sentAtMs) return
      this.#waiting.delete(id)
      waiting.reject(error())
    }
  }
}
