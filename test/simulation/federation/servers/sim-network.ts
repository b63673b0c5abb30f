import type { Random } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { StreamEvents, Trunk, TrunkStream } from '../../../../server/backplane/federation/trunk/trunk.ts'
import type { SimClock } from '../../sim-clock.ts'
import type { FrameTap } from '../faults/tampering.ts'
import { Connection } from './sim-connection.ts'

// The network between servers, as TCP is when everything goes wrong: a stream is in order and without gaps until it breaks,
// but it may be slow, stand still, arrive in bursts, break for one side long before the other, or never open. Each direction
// of each pair of servers can be blocked by itself; what is on its way there waits, and is not lost.

/** One process on the network; the next start of the same server is another one. */
export interface Host {
  readonly index: number
  readonly state: 'running' | 'stopped' | 'dead'
  /** False while its machine is gone: nobody answers, not even to refuse. */
  readonly reachable: boolean
  /** Runs now, after the stop, or never, by the state of the process. */
  run(work: () => void): void
  /** Where streams of other servers go; undefined while nobody listens. */
  readonly accept: ((stream: TrunkStream) => StreamEvents) | undefined
}

export interface NetworkSettings {
  readonly delayMs: number
  readonly jitterMs: number
  /** Time that one frame takes on the line. */
  readonly frameMs: number
  /** Frames on their way before `write` says false. */
  readonly windowFrames: number
  /** How long a side that gets no answer to its pings waits: the dialling and the answering one. */
  readonly deadAfterMs: readonly [number, number]
  readonly connectTimeoutMs: number
  /** Whether frames are encoded and decoded on the way: true to life, and slower. */
  readonly encode: boolean
}

export interface NetworkOptions {
  readonly clock: SimClock
  readonly random: Random
  readonly settings: NetworkSettings
  /** Sees every message, and may hand over others in its place. */
  readonly tap: FrameTap
  /** A message is about to be read. */
  readonly delivered: (from: Host, to: Host, frames: readonly Frame[]) => void
  readonly trace: (what: string) => void
  /** One side of a stream lost it otherwise than in order. */
  readonly onBroken: () => void
  /** Runs what a process does because a stream of it ended. */
  readonly closing: (run: () => void) => void
}

export class SimNetwork {
  readonly options: NetworkOptions
  readonly #hosts = new Map<string, Host>()
  readonly #blocked = new Set<string>()
  /** When something last went wrong between two servers, or will have. */
  readonly #disturbedMs = new Map<string, number>()
  readonly #connections = new Set<Connection>()

  constructor(options: NetworkOptions) {
    this.options = options
  }

  /** What a new process sees of the network. Streams of the one before it are answered with a reset from now on. */
  trunk(host: Host, listens: (accept: (stream: TrunkStream) => StreamEvents) => void): Trunk {
    this.#hosts.set(urlOf(host.index), host)
    for (const connection of [...this.#connections]) connection.hostReplaced(host.index)
    return {
      dial: ({ url }, _channel, events) => {
        const connection = new Connection(this, host, this.#hosts.get(url), events)
        if (host.state !== 'dead') this.#connections.add(connection)
        connection.pathChanged()
        return connection.ends[0]
      },
      onStream: listens,
      close: async () => this.kill(host, 'reset'),
    }
  }

  /** Opens or blocks one direction. */
  setPath(from: number, to: number, open: boolean): void {
    this.#disturb(from, to)
    if (open) this.#blocked.delete(pathName(from, to))
    else this.#blocked.add(pathName(from, to))
    for (const connection of this.#between(from, to)) connection.pathChanged()
  }

  isOpen(from: number, to: number): boolean {
    return !this.#blocked.has(pathName(from, to))
  }

  /** When something was last wrong between two servers: now, or later, while it is. */
  disturbedMs(a: number, b: number): number {
    if (!this.isOpen(a, b) || !this.isOpen(b, a)) return this.options.clock.monotonicMs()
    return this.#disturbedMs.get(pairName(a, b)) ?? Number.NEGATIVE_INFINITY
  }

  /** Opens every path. */
  heal(): void {
    for (const path of this.#blocked) {
      const [from, to] = path.split('>').map(Number) as [number, number]
      this.#disturb(from, to)
    }
    this.#blocked.clear()
    for (const connection of [...this.#connections]) connection.pathChanged()
  }

  /** Nothing moves between two servers for a while, in either direction; then everything comes at once. */
  stall(a: number, b: number, durationMs: number): void {
    this.#disturb(a, b, durationMs)
    for (const connection of this.#between(a, b)) connection.stall(durationMs)
  }

  /** Breaks the streams between two servers: both learn it, or only one. */
  reset(a: number, b: number, told: 'both' | 'one'): void {
    this.#disturb(a, b)
    for (const connection of this.#between(a, b)) {
      const [first, second] = this.options.random.uniform() < 0.5 ? [0, 1] : [1, 0]
      connection.ends[first as 0 | 1].fail('reset')
      if (told === 'both') connection.ends[second as 0 | 1].fail('reset')
    }
  }

  /** A process is gone: its system tells the others (reset), or nothing does (silence). */
  kill(host: Host, how: 'reset' | 'silence'): void {
    for (const connection of [...this.#connections]) connection.hostDied(host, how)
  }

  /** A process was stopped or goes on. */
  hostChanged(host: Host): void {
    for (const connection of [...this.#connections]) if (connection.touches(host.index)) connection.pathChanged()
  }

  /** @internal */
  forget(connection: Connection): void {
    this.#connections.delete(connection)
  }

  #disturb(a: number, b: number, durationMs = 0): void {
    const untilMs = this.options.clock.monotonicMs() + durationMs
    const name = pairName(a, b)
    this.#disturbedMs.set(name, Math.max(untilMs, this.#disturbedMs.get(name) ?? 0))
  }

  #between(a: number, b: number): Connection[] {
    return [...this.#connections].filter((connection) => connection.touches(a) && connection.touches(b))
  }
}

/** The address of a server. */
export function urlOf(index: number): string {
  return `mesh+grpc://server-${index}`
}

function pairName(a: number, b: number): string {
  return pathName(Math.min(a, b), Math.max(a, b))
}

function pathName(from: number, to: number): string {
  return `${from}>${to}`
}
