import { expect } from 'vitest'
import { type Cast, connected, type E2ePeer, until } from '../swarm/cast.ts'
import type { TransferPlan, TransferReport } from '../swarm/transfer.ts'

/** Two peers in a swarm of their own. */
export interface Pair {
  readonly name: string
  readonly left: E2ePeer
  readonly right: E2ePeer
}

/** 256 KiB a second: what the relay path carries three times over, so that it catches up after a standstill. */
const INTERVAL_MS = 62.5

/** Steadily for so long. */
export function lasting(seconds: number): TransferPlan {
  return { chunks: Math.ceil((seconds * 1_000) / INTERVAL_MS), intervalMs: INTERVAL_MS }
}

/** To catch up, after the last chunk was due. */
const CATCH_UP_MS = 60_000
/** A disturbance shows within this time, if at all: later than all bytes on their way have arrived. */
const SHOWS_WITHIN_MS = 5_000

/** A page and a process, and two processes, connected directly. */
export async function openPairs(cast: Cast, ...servers: string[]): Promise<Pair[]> {
  const address = (party: string) => cast.address(party, ...servers)
  const pairs: Pair[] = []
  for (const kind of ['page', 'node'] as const) {
    const left = await (kind === 'page' ? cast.pagePeerAt(address(kind)) : cast.nodePeerAt(address(kind)))
    const right = await cast.nodePeerAt(address(kind))
    pairs.push({ name: kind === 'page' ? 'Chromium and Node' : 'Node and Node', left, right })
  }
  for (const { left, right } of pairs) await until(() => connected([left, right]))
  return pairs
}

/** Transfers in both directions of every pair, while things go wrong. */
export class TransferRun {
  readonly pairs: readonly Pair[]
  readonly #startedMs = performance.now()
  readonly #plan: TransferPlan

  private constructor(pairs: readonly Pair[], plan: TransferPlan) {
    this.pairs = pairs
    this.#plan = plan
  }

  static async start(pairs: readonly Pair[], plan: TransferPlan): Promise<TransferRun> {
    const run = new TransferRun(pairs, plan)
    await run.#each(async ({ left, right }) => {
      await Promise.all([left.transfer(right.id, plan), right.transfer(left.id, plan)])
    })
    return run
  }

  /** Waits for that second of the run; gives the Unix time. */
  async second(second: number): Promise<number> {
    const waitMs = this.#startedMs + second * 1_000 - performance.now()
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    return Date.now()
  }

  /** Closes the WebRTC connections of those peers under the SDK. */
  async sever(...sides: ('left' | 'right')[]): Promise<void> {
    await this.#each(async (pair) => {
      const counts = await Promise.all(sides.map((side) => pair[side].sever()))
      expect(Math.max(...counts)).toBeGreaterThan(0)
    })
  }

  /** Waits until every pair is on that path. */
  async path(path: 'direct' | 'relay', limitMs: number): Promise<number> {
    const of = async ({ left, right }: Pair): Promise<number> =>
      until(async () => {
        const reports = await Promise.all([left.report(), right.report()])
        return reports.every(({ peers: [other] }) => other?.path === path)
      }, limitMs)
    return Math.max(...(await Promise.all(this.pairs.map(of))))
  }

  /** Stops everything at one side of every pair, or lets it go on. */
  async freeze(): Promise<void> {
    await this.#each(({ left }) => left.freeze())
  }

  async thaw(): Promise<void> {
    await this.#each(({ left }) => left.thaw())
  }

  /** The longest time without progress in either direction that something at that Unix time, and until then, can have caused, by pair. */
  async standstills(sinceMs: number, untilMs = sinceMs): Promise<number[]> {
    return Promise.all(
      this.pairs.map(async ({ left, right }) => {
        const reports = await Promise.all([left.transferred(), right.transferred()])
        const all = reports.flatMap(({ received }) => received.standstills)
        const caused = all.filter(({ atMs, forMs }) => atMs + forMs > sinceMs && atMs < untilMs + SHOWS_WITHIN_MS)
        return Math.max(0, ...caused.map(({ forMs }) => forMs))
      }),
    )
  }

  /** Waits for the end, and demands that everything arrived, once and in order, over the same link. Gives how long it took. */
  async finish(): Promise<number> {
    const leastMs = (this.#plan.chunks - 1) * this.#plan.intervalMs
    const limitMs = this.#startedMs + leastMs + CATCH_UP_MS - performance.now()
    await this.#each(async ({ left, right }) => {
      const ends = async () => {
        const reports = await Promise.all([left.transferred(), right.transferred()])
        return reports.flatMap(({ sent, received }) => [sent.end, received.end])
      }
      await until(async () => (await ends()).every((end) => end !== undefined), limitMs).catch(() => undefined)
      for (const [from, to] of [
        [left, right],
        [right, left],
      ] as const) {
        const { sent } = await from.transferred()
        const { received } = await to.transferred()
        expect(inShort(received)).toEqual(inShort(sent))
        expect(inShort(sent)).toMatchObject({ chunks: this.#plan.chunks, wrong: 'nothing', end: 'done' })
        const { log } = await from.report()
        expect(log.filter((entry) => /^(leave|restart|error)/.test(entry))).toEqual([])
      }
    })
    const tookMs = performance.now() - this.#startedMs
    // It ran all the while, and was not over before the last disturbance.
    expect(tookMs).toBeGreaterThan(leastMs)
    return tookMs
  }

  async #each(work: (pair: Pair) => Promise<void>): Promise<void> {
    await Promise.all(this.pairs.map(work))
  }
}

function inShort({ chunks, messages, checksum, wrong = 'nothing', end = 'not yet' }: TransferReport) {
  return { chunks, messages, checksum, wrong, end }
}
