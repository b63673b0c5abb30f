import { type Random, seededRandom } from '@mesh/core'
import { DEFAULT_LINK_LIMITS, type LinkLimits } from '../../../client/link/index.ts'
import { SimClock } from '../sim-clock.ts'
import { SimPair } from './sim-pair.ts'
import { SimProcess } from './sim-process.ts'

// One run: two or three peers with a link for every two of them, their paths, their applications, and a story of faults, all
// from one seed.
//
//  1. For up to 20 simulated seconds everybody sends while paths lose, double, reorder, fill, break and come back, the
//     server restarts, peers restart, and machines sleep for seconds or for up to ten minutes.
//  2. The faults stop. In most runs all links live: everything must arrive, every call must settle well, and then nothing
//     may be sent any more. In the others a side closes, or the relay never comes back: every call must settle all the same,
//     and what its sender was told to be delivered must have arrived.

const DURATION_MS = 20_000
const MAX_SLEEP_MS = 600_000
const SLICE_MS = 5_000
/** Above ten times those of the busiest run. */
const MAX_EVENTS = 100_000
/** A server gives up who does not answer after this, at most: heartbeats and a lease. */
const EXPELLED_AFTER_MS = 50_000
/** In runs in which a goodbye may be lost, or the relay never comes back, links give up within the run. */
const IMPATIENT_LIMITS: Partial<LinkLimits> = { deadMs: 120_000 }
/** Windows so small that they are always full. */
const SMALL_LIMITS: Partial<LinkLimits> = {
  relayWindowFrames: 4,
  directWindowFrames: 8,
  reorderFrames: 16,
  reorderBytes: 40_000,
}

export interface RunResult {
  readonly violations: readonly string[]
  readonly ending: 'live' | 'close' | 'silence'
  readonly packets: number
  readonly repeats: number
  readonly pathChanges: number
  readonly datagrams: number
  readonly restarts: number
  readonly sleeps: number
  readonly simulatedMs: number
}

export function simulateLink(seed: number): Promise<RunResult> {
  return new Run(seed).play()
}

class Run {
  readonly #random: Random
  readonly #clock = new SimClock(() => this.#countEvent())
  readonly #violations: string[] = []
  readonly #limits: LinkLimits
  readonly #encode: boolean
  readonly #ending: RunResult['ending']
  readonly #processes: SimProcess[]
  /** The newest pair of every two peers, by their numbers. */
  readonly #pairs = new Map<string, SimPair>()
  /** Those that were before. */
  readonly #past: SimPair[] = []
  #events = 0
  #serverUp = true
  #healed = false
  #busyUntilMs = DURATION_MS
  #restarts = 0
  #sleeps = 0

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    const { uniform } = this.#random
    const dice = uniform()
    this.#ending = dice < 0.8 ? 'live' : dice < 0.9 ? 'close' : 'silence'
    this.#limits = {
      ...DEFAULT_LINK_LIMITS,
      ...(uniform() < 0.25 && SMALL_LIMITS),
      ...(this.#ending !== 'live' && IMPATIENT_LIMITS),
    }
    this.#encode = seed % 8 === 0
    this.#processes = Array.from({ length: uniform() < 0.15 ? 3 : 2 }, () => this.#makeProcess())
    for (const [lower, higher] of this.#everyTwo()) this.#pair(lower, higher)
  }

  async play(): Promise<RunResult> {
    this.#scheduleFaults()
    await this.#runUntil(DURATION_MS)
    // Whoever sleeps is awake by then, and what it meant to send is sent.
    await this.#runUntil(this.#busyUntilMs)
    this.#healed = true
    for (const pair of this.#pairs.values()) pair.network.healed = true
    if (this.#ending === 'live') await this.#finishLive()
    else await this.#finishClosed()
    for (const pair of this.#all) pair.checkSettled()
    for (const pair of this.#all) pair.close()
    const links = this.#all.flatMap((pair) => pair.links)
    const sum = (count: (link: (typeof links)[number]) => number) => links.reduce((all, link) => all + count(link), 0)
    return {
      violations: this.#violations,
      ending: this.#ending,
      packets: this.#all.reduce((all, { packets: [lower = 0, higher = 0] }) => all + lower + higher, 0),
      repeats: sum(({ stats }) => stats.framesRepeated),
      pathChanges: sum(({ stats }) => stats.pathChanges),
      datagrams: sum(({ stats }) => stats.datagramsReceived),
      restarts: this.#restarts,
      sleeps: this.#sleeps,
      simulatedMs: this.#clock.monotonicMs(),
    }
  }

  get #all(): SimPair[] {
    return [...this.#pairs.values(), ...this.#past]
  }

  async #finishLive(): Promise<void> {
    this.#serverUp = true
    for (const pair of this.#pairs.values()) pair.refreshRelay()
    await this.#runUntil(this.#busyUntilMs + 60_000)
    for (const pair of this.#pairs.values()) pair.checkLive()
    await this.#checkQuiet()
  }

  /** Links with nothing to do send nothing by the relay, and hold nothing. */
  async #checkQuiet(): Promise<void> {
    for (const process of this.#processes) process.rest()
    for (const { links } of this.#pairs.values()) for (const link of links) link.setPath('direct', { usable: false })
    const packets = () => [...this.#pairs.values()].map((pair) => pair.packets.join()).join(' ')
    await this.#runUntil(this.#clock.monotonicMs() + 2_000)
    const before = packets()
    await this.#runUntil(this.#clock.monotonicMs() + 60_000)
    if (before !== packets()) this.#violation(`packets on idle links: ${before} to ${packets()}`)
    if (this.#clock.pending > 0) this.#violation(`${this.#clock.pending} timers wait on idle links`)
    for (const pair of this.#pairs.values()) pair.checkEmpty()
  }

  async #finishClosed(): Promise<void> {
    if (this.#ending === 'silence') this.#serverUp = false
    for (const pair of this.#pairs.values()) pair.network.setDirect(false)
    // Longest: a direct path found dead after 15 s and two timeouts, then no path at all for two minutes.
    await this.#runUntil(this.#busyUntilMs + 200_000)
  }

  /** A run that went wrong is not played to its end. */
  async #runUntil(untilMs: number): Promise<void> {
    while (this.#clock.monotonicMs() < untilMs && this.#violations.length === 0) {
      await this.#clock.runUntil(Math.min(untilMs, this.#clock.monotonicMs() + SLICE_MS))
    }
  }

  #countEvent(): void {
    this.#events += 1
    if (this.#events === MAX_EVENTS) this.#violation(`${MAX_EVENTS} events: something goes round in circles`)
  }

  #scheduleFaults(): void {
    const { uniform } = this.#random
    for (const name of this.#pairs.keys()) {
      const at = (run: (pair: SimPair) => void): void =>
        this.#at(() => {
          const pair = this.#pairs.get(name)
          if (pair) run(pair)
        })
      for (let flap = Math.floor(uniform() * 5); flap > 0; flap--) at((pair) => pair.directUp())
      for (let flap = Math.floor(uniform() * 4); flap > 0; flap--) at((pair) => pair.directDown())
      for (let signal = Math.floor(uniform() * 10); signal > 0; signal--) at((pair) => pair.sendControl())
      if (this.#ending === 'close') at((pair) => this.#closeOne(pair))
    }
    if (uniform() < 0.3) this.#at(() => this.#relayOutage())
    if (uniform() < 0.35) this.#at(() => this.#sleep())
    if (uniform() < 0.1) this.#at(() => this.#sleep())
    if (uniform() < 0.25) this.#at(() => this.#restart())
  }

  #at(run: () => void): void {
    this.#clock.schedule(this.#random.uniform() * DURATION_MS, run)
  }

  #closeOne(pair: SimPair): void {
    const side = this.#random.uniform() < 0.5 ? 0 : 1
    pair.processes[side].run(() => pair.links[side].close())
  }

  /** A server that restarts, or hangs: packets vanish, and each side may know. */
  #relayOutage(): void {
    const { uniform } = this.#random
    this.#serverUp = false
    if (uniform() < 0.5) for (const pair of this.#pairs.values()) pair.refreshRelay()
    const outageMs = uniform() * (uniform() < 0.8 ? 8_000 : 90_000)
    this.#clock.schedule(outageMs, () => {
      this.#serverUp = true
      for (const pair of this.#pairs.values()) pair.refreshRelay()
    })
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#clock.monotonicMs() + outageMs)
  }

  /** A machine sleeps. The server gives it up after a while, and so does a direct path; both are back some time after it is. */
  #sleep(): void {
    const { uniform } = this.#random
    const process = this.#anyProcess()
    if (process.asleep) return
    this.#sleeps++
    const sleepMs = uniform() < 0.5 ? uniform() * 10_000 : uniform() * MAX_SLEEP_MS
    process.sleep(uniform() < 0.5 ? 'stopped' : 'suspended')
    const unlessAwake = (afterMs: number, run: () => void): void => {
      if (afterMs < sleepMs) this.#clock.schedule(afterMs, () => process.alive && run())
    }
    unlessAwake(uniform() * EXPELLED_AFTER_MS, () => this.#setListed(process, false))
    unlessAwake(uniform() * 15_000, () => {
      for (const pair of this.#pairsOf(process)) pair.network.setDirect(false)
    })
    this.#clock.schedule(sleepMs, () => {
      process.wake()
      this.#clock.schedule(uniform() * 3_000, () => this.#setListed(process, true))
    })
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#clock.monotonicMs() + sleepMs + DURATION_MS)
  }

  #setListed(process: SimProcess, listed: boolean): void {
    process.listed = listed
    for (const pair of this.#pairsOf(process)) pair.refreshRelay()
  }

  /** A process dies and another one takes its place; the others hear of it some time later. */
  #restart(): void {
    const number = Math.floor(this.#random.uniform() * this.#processes.length)
    const process = this.#processes[number] as SimProcess
    if (process.asleep || this.#healed) return
    this.#restarts++
    process.die()
    for (const pair of this.#pairsOf(process)) pair.network.setDirect(false)
    this.#clock.schedule(this.#random.uniform() * 10_000, () => {
      this.#processes[number] = this.#makeProcess()
      for (const [lower, higher] of this.#everyTwo()) {
        if (lower !== number && higher !== number) continue
        const survivor = this.#processes[lower === number ? higher : lower] as SimProcess
        survivor.run(() => {
          this.#pairs.get(pairName(lower, higher))?.restarted()
          this.#pair(lower, higher)
        })
      }
    })
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#clock.monotonicMs() + 10_000 + DURATION_MS)
  }

  #pair(lower: number, higher: number): void {
    const name = pairName(lower, higher)
    const before = this.#pairs.get(name)
    if (before) this.#past.push(before)
    const pair = new SimPair({
      name,
      clock: this.#clock,
      random: this.#random,
      limits: this.#limits,
      processes: [this.#processes[lower] as SimProcess, this.#processes[higher] as SimProcess],
      serverUp: () => this.#serverUp,
      encode: this.#encode,
      durationMs: DURATION_MS * (0.2 + 0.8 * this.#random.uniform()),
      violation: (what) => this.#violation(what),
    })
    this.#pairs.set(name, pair)
    pair.start()
  }

  #everyTwo(): [number, number][] {
    return this.#processes.flatMap((_, lower) =>
      this.#processes.slice(lower + 1).map((__, i): [number, number] => [lower, lower + 1 + i]),
    )
  }

  #pairsOf(process: SimProcess): SimPair[] {
    return [...this.#pairs.values()].filter(({ processes }) => processes.includes(process))
  }

  #anyProcess(): SimProcess {
    return this.#processes[Math.floor(this.#random.uniform() * this.#processes.length)] as SimProcess
  }

  #makeProcess(): SimProcess {
    return new SimProcess(this.#clock, this.#random)
  }

  #violation(what: string): void {
    if (this.#violations.length < 20) this.#violations.push(`at ${Math.round(this.#clock.monotonicMs())} ms: ${what}`)
  }
}

function pairName(lower: number, higher: number): string {
  return `${lower}-${higher}`
}
