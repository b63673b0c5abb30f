import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type Random } from '@mesh/core'
import { type RtcSignal, RtcSignalSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { Link, type LinkLimits } from '../../../client/link/index.ts'
import type { SimClock } from '../sim-clock.ts'
import { SimApplication } from './sim-application.ts'
import { SimBook } from './sim-book.ts'
import { type End, type Side, SimNetwork } from './sim-network.ts'
import type { SimProcess } from './sim-process.ts'

export interface PairOptions {
  readonly name: string
  readonly clock: SimClock
  readonly random: Random
  readonly limits: LinkLimits
  /** Lower and higher key. */
  readonly processes: readonly [SimProcess, SimProcess]
  readonly serverUp: () => boolean
  readonly encode: boolean
  /** How long the applications go on sending, in milliseconds. */
  readonly durationMs: number
  readonly violation: (what: string) => void
}

const SIDES = [0, 1] as const

/**
 * One link between two processes, as both have it, with its paths, its applications and the book of what they sent. When a process
 * dies, the pair is over, and the next process of that peer makes another one.
 */
export class SimPair {
  readonly links: readonly [Link, Link]
  readonly network: SimNetwork
  readonly processes: readonly [SimProcess, SimProcess]
  readonly #options: PairOptions
  readonly #book: SimBook
  readonly #applications: readonly SimApplication[]
  readonly #closed: (MeshError | undefined)[] = [undefined, undefined]
  readonly #controlSent = [0, 0]
  readonly #controlArrived = [0, 0]
  readonly packets = [0, 0]

  constructor(options: PairOptions) {
    const { clock, random, durationMs, processes, serverUp, encode } = options
    const { uniform } = random
    this.#options = options
    this.processes = processes
    this.#book = new SimBook((what) => this.#violation(what))
    this.network = new SimNetwork({
      clock,
      random,
      relay: {
        delayMs: 1 + uniform() * 100,
        jitterMs: uniform() < 0.5 ? 0 : uniform() * 80,
        loss: uniform() < 0.3 ? 0 : uniform() * 0.2,
        doubling: uniform() * 0.1,
        packetsPerSlot: 2 + Math.floor(uniform() * 30),
      },
      direct: { delayMs: uniform() * 30, bytesPerMs: 200 + uniform() * 20_000 },
      serverUp,
      encode,
      sent: (side, _path, encodedBytes) => this.#checkBounds(side, encodedBytes),
    })
    this.#applications = SIDES.map(
      (side) => new SimApplication({ clock: processes[side].clock, random, side, durationMs, book: this.#book }),
    )
    this.links = [this.#makeLink(0), this.#makeLink(1)]
    this.network.connect(...(SIDES.map((side) => ({ link: this.links[side], process: processes[side] })) as [End, End]))
    for (const side of SIDES) processes[side].links.add(this.links[side])
  }

  /** Both sides live, and have not given each other up. */
  get isOpen(): boolean {
    return SIDES.every((side) => this.processes[side].alive && this.links[side].state === 'open')
  }

  start(): void {
    for (const side of SIDES) this.#applications[side]?.start(this.links[side])
    this.refreshRelay()
  }

  /** Each side hears at once, or when it wakes, whether the server can be reached and lists the other. */
  refreshRelay(): void {
    for (const side of SIDES) {
      const { listed } = this.processes[1 - side] as SimProcess
      this.processes[side].run(() => {
        const usable = this.#options.serverUp() && listed && this.processes[side].listed
        this.links[side].setPath('relay', { usable })
      })
    }
  }

  directUp(): void {
    if (this.network.directUp || !this.isOpen) return
    this.network.setDirect(true)
    for (const side of SIDES) this.#tellDirect(side, 200)
  }

  /** The sides notice at different times, or only by themselves. */
  directDown(): void {
    this.network.setDirect(false)
    for (const side of SIDES) if (this.#options.random.uniform() < 0.7) this.#tellDirect(side, 3_000)
  }

  sendControl(): void {
    const side: Side = this.#options.random.uniform() < 0.5 ? 0 : 1
    this.processes[side].run(() => {
      if (this.links[side].state === 'closed') return
      this.#controlSent[side] = (this.#controlSent[side] as number) + 1
      const value: RtcSignal = create(RtcSignalSchema, { attempt: this.#controlSent[side] as number })
      void this.links[side].sendControl({ case: 'rtc', value })
    })
  }

  /** The survivor hears that the other process is a new one. What was not acknowledged is reported, and every call settles. */
  restarted(): void {
    const side: Side = this.processes[0].alive ? 0 : 1
    this.processes[side].links.delete(this.links[side])
    this.links[side].close(new MeshError(ErrorReason.PEER_RESTARTED, 'the other peer restarted', { retryable: true }))
  }

  /** Everything arrived, every call went well, and both sides are there. */
  checkLive(): void {
    for (const side of SIDES) {
      if (this.links[side].state === 'closed') this.#violation(`side ${side} closed: ${this.#closed[side]?.message}`)
      if (this.#controlArrived[side] !== this.#controlSent[1 - side]) this.#violation('control frames are missing')
    }
    this.#book.checkComplete()
    if (this.#book.settledBadly > 0) this.#violation(`${this.#book.settledBadly} calls failed on a live link`)
    this.checkSettled()
  }

  /** Every call of a process that lives has settled, and what is called delivered to one that lives has arrived. */
  checkSettled(): void {
    for (const side of SIDES) {
      if (!this.processes[side].alive) continue
      for (const what of this.#book.unsettled(side)) this.#violation(`never settled: ${what}`)
    }
    if (SIDES.every((side) => this.processes[side].alive)) this.#book.checkDelivered()
  }

  /** Nothing is left on a link with nothing to do. */
  checkEmpty(): void {
    for (const { stats } of this.links) {
      const { outstandingFrames, outstandingBytes, inFlightBytes, queuedBytes, heldFrames, heldBytes, openChannels } =
        stats
      const left = {
        outstandingFrames,
        outstandingBytes,
        inFlightBytes,
        queuedBytes,
        heldFrames,
        heldBytes,
        openChannels,
      }
      if (Object.values(left).some((count) => count !== 0)) this.#violation(`left behind: ${JSON.stringify(left)}`)
    }
  }

  close(): void {
    for (const side of SIDES) if (this.processes[side].alive) this.links[side].close()
  }

  #tellDirect(side: Side, withinMs: number): void {
    const { clock, random } = this.#options
    clock.schedule(random.uniform() * withinMs, () =>
      this.processes[side].run(() => this.links[side].setPath('direct', { usable: this.network.directUp })),
    )
  }

  #makeLink(side: Side): Link {
    return new Link({
      clock: this.processes[side].clock,
      role: side === 0 ? 'lower' : 'higher',
      limits: this.#options.limits,
      effects: {
        transmit: (path, body) => {
          const { alive, asleep } = this.processes[side]
          // What was still running in the turn in which it stopped does not get out.
          return !alive || asleep || this.network.transmit(side, path, body)
        },
        transmitDatagram: (path, body) => {
          const { alive, asleep } = this.processes[side]
          return alive && !asleep && this.network.transmitDatagram(side, path, body)
        },
        control: (frame) => {
          this.#controlArrived[side] = (this.#controlArrived[side] as number) + 1
          if (frame.case !== 'rtc' || frame.value.attempt !== this.#controlArrived[side]) {
            this.#violation('control frames are out of order')
          }
        },
        channel: (channel) => this.#applications[side]?.serve(channel),
        pathDead: () => undefined,
        closed: (error, { undeliveredFrames }) => {
          if (this.#closed[side] !== undefined) this.#violation(`side ${side} closed twice`)
          this.#closed[side] = error
          if (undeliveredFrames === 0) this.#book.nothingUndelivered(side)
        },
      },
    })
  }

  #checkBounds(side: Side, encodedBytes: number | undefined): void {
    const { limits } = this.#options
    this.packets[side] = (this.packets[side] as number) + 1
    if (encodedBytes !== undefined && encodedBytes > limits.maxBodyBytes) {
      this.#violation(`a packet of ${encodedBytes} bytes`)
    }
    const { outstandingFrames, outstandingBytes, heldFrames, heldBytes } = this.links[side].stats
    if (outstandingFrames > limits.directWindowFrames + limits.urgentReserveFrames) {
      this.#violation('the window has too many frames')
    }
    // The last frame may reach beyond the window by its own size.
    if (outstandingBytes > limits.directWindowBytes + limits.urgentReserveBytes + 17_000) {
      this.#violation('the window has too many bytes')
    }
    if (heldFrames > limits.reorderFrames || heldBytes > limits.reorderBytes) {
      this.#violation('the reorder buffer is over its bounds')
    }
  }

  #violation(what: string): void {
    this.#options.violation(`${this.#options.name}: ${what}`)
  }
}
