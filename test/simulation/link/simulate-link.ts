import { create } from '@bufbuild/protobuf'
import { type MeshError, type Random, seededRandom } from '@mesh/core'
import type { RtcSignal } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { RtcSignalSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { DEFAULT_LINK_LIMITS, Link, type LinkLimits } from '../../../client/link/index.ts'
import { SimClock } from '../sim-clock.ts'
import { type Side, SimNetwork } from './sim-network.ts'
import { SimTraffic } from './sim-traffic.ts'

// One run: two links, their paths, their applications, and a story of faults, all from one seed.
//
//  1. For up to 20 simulated seconds both sides send while paths lose, double, reorder, fill, break and come back.
//  2. The faults stop. In most runs both links live: everything must arrive, every call must settle well, and then
//     nothing may be sent any more. In the others one side closes, or the relay never comes back: every call must
//     settle all the same, and what arrived must be a prefix.

const DURATION_MS = 20_000
/** A link gives up within a run. */
const LIMITS: LinkLimits = { ...DEFAULT_LINK_LIMITS, deadMs: 120_000 }

export interface RunResult {
  readonly violations: readonly string[]
  readonly ending: 'live' | 'close' | 'silence'
  readonly packets: number
  readonly repeats: number
  readonly pathChanges: number
  readonly simulatedMs: number
}

/** Where a test puts a fault of its own, to see that the simulation notices. */
export type Sabotage = (links: readonly [Link, Link]) => void

export async function simulateLink(seed: number, sabotage?: Sabotage): Promise<RunResult> {
  const run = new Run(seed)
  sabotage?.(run.links)
  return run.play()
}

class Run {
  readonly #seed: number
  readonly #random: Random
  readonly #clock = new SimClock()
  readonly #violations: string[] = []
  readonly #network: SimNetwork
  readonly #traffic: SimTraffic
  readonly #limits: LinkLimits
  readonly #closed: (MeshError | undefined)[] = [undefined, undefined]
  readonly #controlSent = [0, 0]
  readonly #controlArrived = [0, 0]
  readonly #packets = [0, 0]
  readonly links: readonly [Link, Link]
  readonly #ending: RunResult['ending']

  constructor(seed: number) {
    this.#seed = seed
    this.#random = seededRandom(seed)
    const dice = this.#random.uniform()
    this.#ending = dice < 0.8 ? 'live' : dice < 0.9 ? 'close' : 'silence'
    // Some runs with windows so small that they are always full.
    this.#limits =
      this.#random.uniform() < 0.25
        ? {
            ...LIMITS,
            relayWindowFrames: 4,
            directWindowFrames: 8,
            reorderFrames: 16,
            reorderBytes: 40_000,
          }
        : LIMITS
    this.#network = this.#makeNetwork()
    this.#traffic = new SimTraffic({
      clock: this.#clock,
      random: this.#random,
      durationMs: DURATION_MS * (0.2 + 0.8 * this.#random.uniform()),
      violation: (what) => this.#violation(what),
    })
    this.links = [this.#makeLink(0), this.#makeLink(1)]
    this.#network.connect(...this.links)
  }

  async play(): Promise<RunResult> {
    const [lower, higher] = this.links
    for (const side of [0, 1] as const) {
      this.links[side].setPath('relay', { usable: true })
      this.#traffic.start(this.links[side], side)
    }
    this.#scheduleFaults()
    await this.#clock.runUntil(DURATION_MS)
    this.#network.healed = true
    if (this.#ending === 'live') await this.#finishLive()
    else await this.#finishClosed()
    for (const [, what] of this.#traffic.unsettled) this.#violation(`never settled: ${what}`)
    lower.close()
    higher.close()
    return {
      violations: this.#violations,
      ending: this.#ending,
      packets: (this.#packets[0] as number) + (this.#packets[1] as number),
      repeats: lower.stats.framesRepeated + higher.stats.framesRepeated,
      pathChanges: lower.stats.pathChanges + higher.stats.pathChanges,
      simulatedMs: this.#clock.monotonicMs(),
    }
  }

  async #finishLive(): Promise<void> {
    this.#network.relayUp = true
    for (const link of this.links) link.setPath('relay', { usable: true })
    await this.#clock.runUntil(DURATION_MS + 60_000)
    for (const side of [0, 1] as const) {
      if (this.links[side].state === 'closed') this.#violation(`side ${side} closed: ${this.#closed[side]?.message}`)
      if (this.#controlArrived[side] !== this.#controlSent[1 - side]) this.#violation('control frames are missing')
    }
    this.#traffic.checkComplete()
    if (this.#traffic.settledBadly > 0) this.#violation(`${this.#traffic.settledBadly} calls failed on a live link`)
    await this.#checkQuiet()
  }

  /** A link with nothing to do sends nothing on the relay, and holds nothing. */
  async #checkQuiet(): Promise<void> {
    for (const link of this.links) link.setPath('direct', { usable: false })
    await this.#clock.runUntil(this.#clock.monotonicMs() + 2_000)
    const before = [...this.#packets]
    await this.#clock.runUntil(this.#clock.monotonicMs() + 60_000)
    if (before.join() !== this.#packets.join())
      this.#violation(`packets on an idle link: ${before} to ${this.#packets}`)
    if (this.#clock.pending > 0) this.#violation(`${this.#clock.pending} timers wait on idle links`)
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

  async #finishClosed(): Promise<void> {
    if (this.#ending === 'silence') this.#network.relayUp = false
    this.#network.setDirect(false)
    // Longest: a direct path found dead after 15 s and two timeouts, then no path at all for two minutes.
    await this.#clock.runUntil(DURATION_MS + 200_000)
  }

  #scheduleFaults(): void {
    const { uniform } = this.#random
    const at = (run: () => void): void => void this.#clock.schedule(uniform() * DURATION_MS, run)
    for (let flap = Math.floor(uniform() * 5); flap > 0; flap--) at(() => this.#directUp())
    for (let flap = Math.floor(uniform() * 4); flap > 0; flap--) at(() => this.#directDown())
    if (uniform() < 0.3) at(() => this.#relayOutage())
    for (let signal = Math.floor(uniform() * 10); signal > 0; signal--) at(() => this.#sendControl())
    if (this.#ending === 'close') at(() => this.links[uniform() < 0.5 ? 0 : 1].close())
  }

  #directUp(): void {
    if (this.#network.directUp) return
    this.#network.setDirect(true)
    for (const link of this.links) this.#soon(200, () => link.setPath('direct', { usable: this.#network.directUp }))
  }

  /** The sides notice at different times, or only by themselves. */
  #directDown(): void {
    this.#network.setDirect(false)
    for (const link of this.links) {
      if (this.#random.uniform() < 0.7) {
        this.#soon(3_000, () => link.setPath('direct', { usable: this.#network.directUp }))
      }
    }
  }

  /** A server that restarts: packets vanish, and each side may know. */
  #relayOutage(): void {
    const tell = this.#random.uniform() < 0.5
    this.#network.relayUp = false
    if (tell) for (const link of this.links) link.setPath('relay', { usable: false })
    this.#clock.schedule(this.#random.uniform() * 8_000, () => {
      this.#network.relayUp = true
      for (const link of this.links) link.setPath('relay', { usable: true })
    })
  }

  #sendControl(): void {
    const side = this.#random.uniform() < 0.5 ? 0 : 1
    if (this.links[side].state === 'closed') return
    this.#controlSent[side] = (this.#controlSent[side] as number) + 1
    const value: RtcSignal = create(RtcSignalSchema, { attempt: this.#controlSent[side] as number })
    void this.links[side].sendControl({ case: 'rtc', value })
  }

  #soon(withinMs: number, run: () => void): void {
    this.#clock.schedule(this.#random.uniform() * withinMs, run)
  }

  #makeNetwork(): SimNetwork {
    const { uniform } = this.#random
    return new SimNetwork({
      clock: this.#clock,
      random: this.#random,
      relay: {
        delayMs: 1 + uniform() * 100,
        jitterMs: uniform() < 0.5 ? 0 : uniform() * 80,
        loss: uniform() < 0.3 ? 0 : uniform() * 0.2,
        doubling: uniform() * 0.1,
        packetsPerSlot: 2 + Math.floor(uniform() * 30),
      },
      direct: { delayMs: uniform() * 30, bytesPerMs: 200 + uniform() * 20_000 },
      encode: this.#seed % 8 === 0,
      sent: (side, _path, encodedBytes) => this.#checkBounds(side, encodedBytes),
    })
  }

  #makeLink(side: Side): Link {
    return new Link({
      clock: this.#clock,
      role: side === 0 ? 'lower' : 'higher',
      limits: this.#limits,
      effects: {
        transmit: (path, body) => this.#network.transmit(side, path, body),
        control: (frame) => {
          this.#controlArrived[side] = (this.#controlArrived[side] as number) + 1
          if (frame.case !== 'rtc' || frame.value.attempt !== this.#controlArrived[side]) {
            this.#violation('control frames are out of order')
          }
        },
        channel: (channel) => this.#traffic.serve(channel),
        pathDead: () => undefined,
        closed: (error) => {
          if (this.#closed[side] !== undefined) this.#violation(`side ${side} closed twice`)
          this.#closed[side] = error
        },
      },
    })
  }

  #checkBounds(side: Side, encodedBytes: number | undefined): void {
    this.#packets[side] = (this.#packets[side] as number) + 1
    const { maxBodyBytes, directWindowFrames, directWindowBytes, urgentReserveFrames, urgentReserveBytes } =
      this.#limits
    if (encodedBytes !== undefined && encodedBytes > maxBodyBytes) this.#violation(`a packet of ${encodedBytes} bytes`)
    const { outstandingFrames, outstandingBytes, heldFrames, heldBytes } = this.links[side].stats
    if (outstandingFrames > directWindowFrames + urgentReserveFrames) this.#violation('the window has too many frames')
    // The last frame may reach beyond the window by its own size.
    if (outstandingBytes > directWindowBytes + urgentReserveBytes + 17_000)
      this.#violation('the window has too many bytes')
    if (heldFrames > this.#limits.reorderFrames || heldBytes > this.#limits.reorderBytes) {
      this.#violation('the reorder buffer is over its bounds')
    }
  }

  #violation(what: string): void {
    if (this.#violations.length < 20) this.#violations.push(`at ${Math.round(this.#clock.monotonicMs())} ms: ${what}`)
  }
}
