import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Random } from '@mesh/core'
import { type PacketBody, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Link, PathName } from '../../../client/link/index.ts'
import type { SimClock } from '../sim-clock.ts'
import type { SimProcess } from './sim-process.ts'

// The paths between two links.
//
// Relay: delays, loses, doubles and reorders; takes a number of packets per interval and is full beyond that; can be
// away. Direct: reliable and in order like a data channel, with a buffer that fills; when it breaks, what is under way
// is gone, and each side learns of it later, or never and has to find out. Datagrams take it beside the rest: lost, and in any
// order. Both wait for a process that sleeps, the relay
// as long as the server believes in it.

export type Side = 0 | 1

/** One end of both paths. */
export interface End {
  readonly link: Link
  readonly process: SimProcess
}

export interface RelayFaults {
  readonly delayMs: number
  readonly jitterMs: number
  readonly loss: number
  readonly doubling: number
  /** Packets per 50 ms; what a server's rate limit leaves. */
  readonly packetsPerSlot: number
}

export interface DirectFaults {
  readonly delayMs: number
  readonly bytesPerMs: number
}

export interface NetworkOptions {
  readonly clock: SimClock
  readonly random: Random
  readonly relay: RelayFaults
  readonly direct: DirectFaults
  /** Whether the server passes anything on. */
  readonly serverUp: () => boolean
  /** Whether packets are encoded and decoded on the way: true to life, and ten times slower. */
  readonly encode: boolean
  /** Called with every packet that is sent. */
  readonly sent: (side: Side, path: PathName, encodedBytes: number | undefined) => void
}

const SLOT_MS = 50
const DIRECT_BUFFER_BYTES = 65_536
const DATAGRAM_LOSS = 0.2
const DATAGRAM_REFUSALS = 0.1
/** Enough for them to overtake each other, and the opening and the end of their channel. */
const DATAGRAM_JITTER_MS = 200

export class SimNetwork {
  readonly #options: NetworkOptions
  readonly #ends: End[] = []
  /** Without faults from here on. */
  healed = false
  directUp = false
  /** Packets of an older direct path do not arrive. */
  #directGeneration = 0
  readonly #directFreeAtMs = [0, 0]
  readonly #slotUsed = [0, 0]

  constructor(options: NetworkOptions) {
    this.#options = options
  }

  connect(lower: End, higher: End): void {
    this.#ends.push(lower, higher)
  }

  /** The transmit effect of one side. */
  transmit(side: Side, path: PathName, body: PacketBody): boolean {
    const encoded = this.#options.encode ? toBinary(PacketBodySchema, body) : undefined
    this.#options.sent(side, path, encoded?.length)
    const copy = encoded === undefined ? () => copyOf(body) : () => fromBinary(PacketBodySchema, encoded.slice())
    return path === 'relay' ? this.#relay(side, copy) : this.#direct(side, body, copy)
  }

  /** The transmitDatagram effect of one side. Nothing comes twice: sealed packets that do are not opened. */
  transmitDatagram(side: Side, path: PathName, body: PacketBody): boolean {
    const { random, relay, direct } = this.#options
    const generation = this.#directGeneration
    const lost = random.uniform() < DATAGRAM_LOSS
    const lateMs = random.uniform() * DATAGRAM_JITTER_MS
    if (random.uniform() < DATAGRAM_REFUSALS) return false
    if (lost || (path === 'direct' && !this.directUp)) return true
    this.#later((path === 'direct' ? direct.delayMs : relay.delayMs) + lateMs, () => {
      if (path === 'relay' ? this.#options.serverUp() : generation === this.#directGeneration) {
        this.#deliver(side, path, copyOf(body))
      }
    })
    return true
  }

  /** Breaks the direct path, or makes a new one. The links are not told. */
  setDirect(up: boolean): void {
    this.directUp = up
    this.#directGeneration += 1
    this.#directFreeAtMs.fill(this.#options.clock.monotonicMs())
  }

  #relay(side: Side, copy: () => PacketBody): boolean {
    const { random, relay } = this.#options
    const copies = this.healed ? 1 : random.uniform() < relay.loss ? 0 : random.uniform() < relay.doubling ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const jitterMs = this.healed ? 0 : random.uniform() * relay.jitterMs
      this.#later(relay.delayMs + jitterMs, () => {
        const isThere = this.#ends[1 - side]?.process.listed === true
        if (isThere && this.#options.serverUp()) this.#deliver(side, 'relay', copy())
      })
    }
    const used = (this.#slotUsed[side] as number) + 1
    this.#slotUsed[side] = used
    if (used === 1) {
      this.#later(SLOT_MS, () => {
        this.#slotUsed[side] = 0
        this.#ready(side, 'relay')
      })
    }
    return used < relay.packetsPerSlot
  }

  #direct(side: Side, body: PacketBody, copy: () => PacketBody): boolean {
    if (!this.directUp) return true
    const { clock, direct } = this.#options
    const generation = this.#directGeneration
    const nowMs = clock.monotonicMs()
    const startMs = Math.max(nowMs, this.#directFreeAtMs[side] as number)
    const freeAtMs = startMs + bytesOf(body) / direct.bytesPerMs
    this.#directFreeAtMs[side] = freeAtMs
    this.#later(freeAtMs + direct.delayMs - nowMs, () => {
      if (this.directUp && generation === this.#directGeneration) this.#deliver(side, 'direct', copy())
    })
    const full = (freeAtMs - nowMs) * direct.bytesPerMs > DIRECT_BUFFER_BYTES
    if (full) this.#later((freeAtMs - nowMs) / 2, () => this.#ready(side, 'direct'))
    return !full
  }

  #deliver(from: Side, path: PathName, body: PacketBody): void {
    const end = this.#ends[1 - from]
    end?.process.run(() => end.link.receive(path, body))
  }

  #ready(side: Side, path: PathName): void {
    const end = this.#ends[side]
    end?.process.run(() => end.link.pathReady(path))
  }

  #later(delayMs: number, run: () => void): void {
    this.#options.clock.schedule(delayMs, run)
  }
}

/** The receiver owns what it gets: frames are copied as deep as the link changes them. */
function copyOf(body: PacketBody): PacketBody {
  return { ...body, frames: body.frames.map((frame) => ({ ...frame })) }
}

function bytesOf(body: PacketBody): number {
  let bytes = 32
  for (const { body: frame } of body.frames) bytes += frame.case === 'data' ? frame.value.data.length + 20 : 40
  return bytes
}
