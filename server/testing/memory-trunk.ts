import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { ReplicateRequestSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { StreamEvents, Trunk, TrunkStream } from '../backplane/federation/trunk/trunk.ts'

export interface MemoryNetworkOptions {
  readonly clock: Clock
  /** One-way delay of every message in ms; asked for each. Default: 1. */
  readonly delayMs?: (from: string, to: string) => number
  /** How long a side that hears nothing waits until it takes the stream for dead, as pings do. Default: 4,000. */
  readonly deadAfterMs?: number
  /** Messages on their way before `write` says false. Default: 64. */
  readonly windowMessages?: number
}

/**
 * Servers in one process: streams as TCP carries them, that is in order and without gaps until they break. Time passes
 * only on the given clock. What a test may do to it:
 *
 *  - `block`: messages of one direction wait, as packets that are lost and sent again do; a stream dies when that lasts.
 *  - `reset`: streams between two servers break, and both learn it; what was on its way is lost.
 *  - `crash`: a server is gone without a word; `trunk` of the same name is its next start.
 */
export class MemoryNetwork {
  readonly options: Required<MemoryNetworkOptions>
  readonly #nodes = new Map<string, MemoryTrunk>()
  readonly #blocked = new Set<string>()
  readonly #ends = new Set<StreamEnd>()
  /** Calls so far. */
  opened = 0

  constructor(options: MemoryNetworkOptions) {
    this.options = { delayMs: () => 1, deadAfterMs: 4_000, windowMessages: 64, ...options }
  }

  /** The trunk of a server that others dial as `url`; of one that crashed or closed: its next start. */
  trunk(url: string): Trunk {
    if (this.#nodes.has(url)) this.crash(url)
    for (const end of this.#ends)
      if (end.to === url && end.other?.gone === true) end.arrive(() => end.end(lost('reset')))
    const node = new MemoryTrunk(this, url)
    this.#nodes.set(url, node)
    return node
  }

  /** Stops what goes `from` one server `to` another, until `unblock`. */
  block(from: string, to: string): void {
    this.#blocked.add(pathName(from, to))
    for (const end of this.#between(from, to)) end.suspect()
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(pathName(from, to))
    for (const end of this.#between(from, to)) end.recover()
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(pathName(from, to))
  }

  /** Breaks every stream between two servers; both sides learn it now. */
  reset(a: string, b: string): void {
    for (const end of this.#between(a, b)) end.end(lost('the connection was reset'))
  }

  /** Ends a server without a word: it hears and says nothing more, and others find out by waiting. */
  crash(url: string): void {
    const node = this.#nodes.get(url)
    this.#nodes.delete(url)
    if (node !== undefined) node.dead = true
    for (const end of [...this.#ends]) if (end.at === url) end.vanish()
  }

  /** Messages on their way or waiting in a blocked direction. */
  get inFlight(): number {
    let count = 0
    for (const end of this.#ends) count += end.inFlight
    return count
  }

  /** Streams that are open at either end. */
  get streams(): number {
    return new Set([...this.#ends].map((end) => end.stream)).size
  }

  /** Streams that are open and that this server opened. */
  openedBy(url: string): number {
    return [...this.#ends].filter((end) => end.at === url && end.isDialler).length
  }

  /** @internal */
  open(from: string, to: string, events: StreamEvents): StreamEnd {
    this.opened += 1
    const here = new StreamEnd(this, from, to, this.opened, true)
    const there = new StreamEnd(this, to, from, this.opened, false)
    here.other = there
    there.other = here
    here.events = events
    this.#ends.add(here).add(there)
    there.arrive(() => {
      const accept = this.#nodes.get(to)?.accept
      if (accept === undefined) there.end(undefined, lost('nobody listens there'))
      else there.events = accept(there)
    })
    if (this.isBlocked(from, to) || this.isBlocked(to, from)) here.suspect()
    return here
  }

  /** @internal */
  forget(end: StreamEnd): void {
    this.#ends.delete(end)
  }

  /** @internal Closes a server in order: its streams end, and the others learn it. */
  leave(node: MemoryTrunk): void {
    if (this.#nodes.get(node.url) === node) this.#nodes.delete(node.url)
    for (const end of [...this.#ends]) if (end.at === node.url && !node.dead) end.close()
    node.dead = true
  }

  #between(a: string, b: string): StreamEnd[] {
    return [...this.#ends].filter(({ at, to }) => (at === a && to === b) || (at === b && to === a))
  }
}

class MemoryTrunk implements Trunk {
  readonly url: string
  readonly #network: MemoryNetwork
  accept: ((stream: TrunkStream) => StreamEvents) | undefined
  dead = false

  constructor(network: MemoryNetwork, url: string) {
    this.#network = network
    this.url = url
  }

  dial({ url }: { readonly url: string }, _channel: unknown, events: StreamEvents): TrunkStream {
    return this.#network.open(this.url, url, events)
  }

  onStream(accept: (stream: TrunkStream) => StreamEvents): void {
    this.accept = accept
  }

  async close(): Promise<void> {
    this.#network.leave(this)
  }
}

interface Arrival {
  readonly dueMs: number
  readonly run: () => void
}

/** One side of a stream, with what is on its way to it. */
class StreamEnd implements TrunkStream {
  readonly at: string
  readonly to: string
  /** The same number at both ends. */
  readonly stream: number
  readonly isDialler: boolean
  readonly #network: MemoryNetwork
  readonly #arrivals: Arrival[] = []
  #timer: Timer | undefined
  #suspicion: Timer | undefined
  #full = false
  #open = true
  other: StreamEnd | undefined
  events: StreamEvents | undefined
  /** Its server crashed. */
  gone = false

  constructor(network: MemoryNetwork, at: string, to: string, stream: number, isDialler: boolean) {
    this.#network = network
    this.stream = stream
    this.isDialler = isDialler
    this.at = at
    this.to = to
  }

  get inFlight(): number {
    return this.#arrivals.length
  }

  write(frames: readonly Frame[]): boolean {
    if (!this.#open) return false
    const bytes = toBinary(ReplicateRequestSchema, create(ReplicateRequestSchema, { frames: [...frames] }))
    const there = this.other as StreamEnd
    there.arrive(() => {
      there.#deliver(fromBinary(ReplicateRequestSchema, bytes).frames)
      if (!this.#full) return
      this.#full = false
      if (this.#open) this.events?.onDrain()
    })
    this.#full = there.inFlight >= this.#network.options.windowMessages
    return !this.#full
  }

  close(error?: MeshError): void {
    if (this.#open) this.end(undefined, error)
  }

  proven(): void {}

  /** @internal Something reaches this side later, in order. */
  arrive(run: () => void): void {
    if (!this.#open) return
    const { clock, delayMs } = this.#network.options
    const soonestMs = this.#arrivals.at(-1)?.dueMs ?? 0
    this.#arrivals.push({ dueMs: Math.max(soonestMs, clock.monotonicMs() + delayMs(this.to, this.at)), run })
    this.pathChanged()
  }

  /** @internal Something may be ready for this side. */
  pathChanged(): void {
    const next = this.#arrivals[0]
    if (next === undefined || this.#timer !== undefined || this.gone) return
    if (this.#network.isBlocked(this.to, this.at)) return
    const { clock } = this.#network.options
    this.#timer = clock.schedule(next.dueMs - clock.monotonicMs(), () => {
      this.#timer = undefined
      if (this.#network.isBlocked(this.to, this.at)) return
      this.#arrivals.shift()?.run()
      this.pathChanged()
    })
  }

  /** @internal Pings go unanswered: unless that ends in time, this side takes the stream for dead. */
  suspect(): void {
    const { clock, deadAfterMs } = this.#network.options
    this.#suspicion ??= clock.schedule(deadAfterMs, () => {
      this.#suspicion = undefined
      if (this.#isCut) this.end(lost('no answer to pings'))
    })
  }

  /** @internal A direction works again. */
  recover(): void {
    if (!this.#isCut) {
      this.#suspicion?.cancel()
      this.#suspicion = undefined
    }
    this.pathChanged()
  }

  /** @internal Its server crashed. */
  vanish(): void {
    this.gone = true
    this.#release()
    this.other?.suspect()
  }

  /** @internal Ends this side; `told` reaches the other one. */
  end(error: MeshError | undefined, told?: MeshError): void {
    if (!this.#open || this.gone) return
    this.#release()
    const { other } = this
    other?.arrive(() => other.end(told))
    // Not within the call that closes: its caller has not finished.
    queueMicrotask(() => {
      if (!this.gone) this.events?.onClose(error)
    })
  }

  /** Whether no ping can be answered. */
  get #isCut(): boolean {
    const blocked = this.#network.isBlocked(this.at, this.to) || this.#network.isBlocked(this.to, this.at)
    return blocked || this.other?.gone === true
  }

  #deliver(frames: readonly Frame[]): void {
    if (!this.#open || this.events === undefined) return
    try {
      this.events.onFrames(frames)
    } catch (thrown) {
      const error = MeshError.from(thrown)
      this.end(error, error)
    }
  }

  #release(): void {
    this.#open = false
    this.#timer?.cancel()
    this.#suspicion?.cancel()
    this.#arrivals.length = 0
    this.#network.forget(this)
  }
}

function pathName(from: string, to: string): string {
  return `${from} → ${to}`
}

function lost(why: string): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, why)
}
