import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type Timer } from '@mesh/core'
import { type Frame, ReplicateRequestSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { StreamEvents, TrunkStream } from '../../../../server/backplane/federation/trunk/trunk.ts'
import type { Host, SimNetwork } from './sim-network.ts'

/** One TCP connection with one stream, from the dialling host (end 0) to the answering one (end 1). */
export class Connection {
  readonly network: SimNetwork
  readonly ends: readonly [End, End]
  #stalledUntilMs = 0

  constructor(network: SimNetwork, dialler: Host, target: Host | undefined, events: StreamEvents) {
    this.network = network
    const { clock, settings } = network.options
    this.ends = [new End(this, 0, dialler), new End(this, 1, target)]
    this.ends[0].events = events
    const there = this.ends[1]
    there.arrive(() => {
      const accept = target?.state === 'dead' ? undefined : target?.accept
      if (accept === undefined) {
        there.close(lost('nobody listens there'))
        return
      }
      there.events = accept(there)
      this.ends[0].connected = true
    })
    clock.schedule(settings.connectTimeoutMs, () => {
      if (!this.ends[0].connected) this.ends[0].fail('no connection')
    })
  }

  touches(index: number): boolean {
    return this.ends[0].host?.index === index || this.ends[1].host?.index === index
  }

  /** True while what is sent from one end gets to the other. */
  moves(to: End): boolean {
    const from = to.other.host
    if (from === undefined || to.host === undefined) return true
    const reachable = from.reachable && to.host.reachable && this.network.isOpen(from.index, to.host.index)
    return reachable && this.network.options.clock.monotonicMs() >= this.#stalledUntilMs
  }

  stall(durationMs: number): void {
    const { clock } = this.network.options
    this.#stalledUntilMs = clock.monotonicMs() + durationMs
    this.pathChanged()
    clock.schedule(durationMs, () => this.pathChanged())
  }

  /** A path, or the state of a host, is not what it was. */
  pathChanged(): void {
    for (const end of this.ends) {
      end.pump()
      end.watch()
    }
  }

  hostDied(host: Host, how: 'reset' | 'silence'): void {
    for (const end of this.ends) {
      if (end.host !== host) continue
      end.vanish()
      if (how === 'reset') end.reset()
      // What was sent and had not left the machine is gone with it.
      else end.other.forgetArrivals()
    }
    this.pathChanged()
  }

  hostReplaced(index: number): void {
    for (const end of this.ends) if (end.host?.index === index && end.vanished) end.reset()
    this.pathChanged()
  }

  forgetWhenOver(): void {
    if (this.ends.every((end) => end.over)) this.network.forget(this)
  }
}

interface Arrival {
  readonly dueMs: number
  readonly frames: number
  readonly run: () => void
}

/** One end of a connection, and what is on its way to it. */
export class End implements TrunkStream {
  readonly #connection: Connection
  readonly #side: 0 | 1
  readonly host: Host | undefined
  readonly #arrivals: Arrival[] = []
  #framesUnderway = 0
  #lineFreeAtMs = 0
  #pumpTimer: Timer | undefined
  #watchTimer: Timer | undefined
  #writerWaits = false
  #open = true
  events: StreamEvents | undefined
  connected = false
  /** Its process died: nothing more comes from it. */
  vanished = false

  constructor(connection: Connection, side: 0 | 1, host: Host | undefined) {
    this.#connection = connection
    this.#side = side
    this.host = host
  }

  get other(): End {
    return this.#connection.ends[1 - this.#side] as End
  }

  get over(): boolean {
    return !this.#open
  }

  get #network(): SimNetwork {
    return this.#connection.network
  }

  write(frames: readonly Frame[]): boolean {
    if (!this.#open || this.vanished) return false
    const { settings, tap } = this.#network.options
    const there = this.other
    if (this.host === undefined || there.host === undefined) return true
    const travelling = tap({ stream: this, from: this.host.index, to: there.host.index, frames })
    const copy = settings.encode ? decoding(travelling) : constant(travelling)
    there.arrive(() => there.#receive(copy()), travelling.length)
    this.#writerWaits = there.#framesUnderway >= settings.windowFrames
    return !this.#writerWaits
  }

  close(error?: MeshError): void {
    if (!this.#open) return
    const { other } = this
    other.arrive(() => other.end(error))
    this.end(undefined)
  }

  proven(): void {}

  /** The transport gives this side up; the other one may learn it. */
  fail(why: string): void {
    if (!this.#open || this.vanished) return
    this.#network.options.onBroken()
    this.reset()
    this.end(lost(why))
  }

  /** Tells the other side that this one is no more. */
  reset(): void {
    const { other } = this
    other.arrive(() => other.end(lost('reset by the other side')))
  }

  /** This side hears that it is over. */
  end(error: MeshError | undefined): void {
    if (!this.#open) return
    this.#release()
    if (this.vanished) return
    // In a turn of its own: never within a call to or from the one who hears it.
    const { clock, closing } = this.#network.options
    clock.schedule(0, () => this.host?.run(() => closing(() => this.events?.onClose(error))))
  }

  /** The process is gone. */
  vanish(): void {
    this.vanished = true
    this.#release()
  }

  /** Something gets here later, after everything before it. */
  arrive(run: () => void, frames = 0): void {
    const { clock, random, settings } = this.#network.options
    const nowMs = clock.monotonicMs()
    this.#lineFreeAtMs = Math.max(this.#lineFreeAtMs, nowMs) + frames * settings.frameMs
    const transitMs = settings.delayMs + random.uniform() * settings.jitterMs
    const dueMs = Math.max(this.#arrivals.at(-1)?.dueMs ?? 0, this.#lineFreeAtMs + transitMs)
    this.#arrivals.push({ dueMs, frames, run })
    this.#framesUnderway += frames
    this.pump()
  }

  forgetArrivals(): void {
    this.#arrivals.length = 0
    this.#framesUnderway = 0
  }

  /** Lets in what is due, as long as the path is open. */
  pump(): void {
    const next = this.#arrivals[0]
    if (next === undefined || this.#pumpTimer !== undefined || !this.#connection.moves(this)) return
    const { clock } = this.#network.options
    this.#pumpTimer = clock.schedule(next.dueMs - clock.monotonicMs(), () => {
      this.#pumpTimer = undefined
      if (this.#arrivals[0] !== next || !this.#connection.moves(this)) return
      this.#arrivals.shift()
      // Into the buffer of the receiving system; read when the process runs.
      if (this.host === undefined || this.host.state === 'dead') next.run()
      else this.host.run(() => this.#take(next))
      this.pump()
    })
  }

  /** Starts or stops to count the time in which pings go unanswered. */
  watch(): void {
    if (!this.#open || this.vanished || this.#answered()) {
      this.#watchTimer?.cancel()
      this.#watchTimer = undefined
      return
    }
    const { clock, settings } = this.#network.options
    this.#watchTimer ??= clock.schedule(settings.deadAfterMs[this.#side], () => {
      this.#watchTimer = undefined
      this.host?.run(() => this.#answered() || this.fail('no answer to pings'))
    })
  }

  #answered(): boolean {
    const { other } = this
    const stopped = other.host !== undefined && other.host.state !== 'running'
    return !stopped && !other.vanished && this.#connection.moves(this) && this.#connection.moves(other)
  }

  #take(arrival: Arrival): void {
    this.#framesUnderway -= arrival.frames
    arrival.run()
    const writer = this.other
    if (!writer.#writerWaits || this.#framesUnderway > this.#network.options.settings.windowFrames / 2) return
    writer.#writerWaits = false
    writer.host?.run(() => writer.#open && !writer.vanished && writer.events?.onDrain())
  }

  #receive(frames: readonly Frame[]): void {
    if (!this.#open || this.events === undefined) return
    const { host, other } = this
    if (host !== undefined && other.host !== undefined) this.#network.options.delivered(other.host, host, frames)
    try {
      this.events.onFrames(frames)
    } catch (thrown) {
      const error = MeshError.from(thrown)
      this.#network.options.trace(`server ${this.host?.index} ends a stream: ${error.message}`)
      other.arrive(() => other.end(error))
      this.end(error)
    }
  }

  #release(): void {
    this.#open = false
    this.#watchTimer?.cancel()
    this.#watchTimer = undefined
    this.#connection.forgetWhenOver()
  }
}

function decoding(frames: readonly Frame[]): () => Frame[] {
  const bytes = toBinary(ReplicateRequestSchema, create(ReplicateRequestSchema, { frames: [...frames] }))
  return () => fromBinary(ReplicateRequestSchema, bytes).frames
}

function constant<T>(value: T): () => T {
  return () => value
}

function lost(why: string): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, why)
}
