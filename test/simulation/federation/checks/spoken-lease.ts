import { equalBytes } from '@mesh/core'
import type { Frame, OriginState } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess, Step } from '../servers/sim-process.ts'
import type { World } from '../world.ts'
import { CLOCK_ERROR, latestLeaseEndMs, ROUNDING_MS } from './stops.ts'

/** Rounding of timers and of clocks that run at different speeds. */
const SLACK_MS = 100

/** What the process holds of one origin, and the last state that spoke for it. */
interface Spoken {
  readonly status: OriginStatus
  readonly heardMs: number
  readonly spokeMs: number
  /** A state that counted told of another table at the seq that was reached, and the rows were not right since. */
  readonly isKnownWrong: boolean
}

/**
 * I4 at one process, for rows that stop while states go on: rows are shown for a lease after the last state that spoke for
 * them. A state does so when nothing it could miss was known before it, and its digest is theirs; or when anything came
 * since the last one, or a stream began, after which all that is missing is on its way.
 */
export class SpokenLease {
  readonly #world: World
  readonly #process: SimProcess
  #spoken = new Map<number, Spoken>()
  /** Origins of which something came since a state counted last, and since the last state was read. */
  readonly #moved = new Set<number>()
  readonly #movedLast = new Set<number>()
  /** By index of the origin: the seq that the last state tells of that came from itself. */
  readonly #toldSeq = new Map<number, bigint>()

  constructor(world: World, process: SimProcess) {
    this.#world = world
    this.#process = process
  }

  /** Frames of another server are about to be read. */
  onDelivered(from: number, frames: readonly Frame[]): void {
    for (const { frame } of frames) {
      if (frame.case === 'originState') this.#state(frame.value, from)
      else if (frame.case === 'rows') this.#move(frame.value.origin[0] as number)
      // With it a stream begins.
      else if (frame.case === 'proof') this.#move(from)
    }
  }

  check({ origins }: Step): void {
    const others = origins.slice(1).map((status) => this.#speak(status, this.#spoken.get(status.key[0] as number)))
    this.#spoken = new Map(others.map((spoken) => [spoken.status.key[0] as number, spoken]))
    for (const spoken of others) this.#judge(spoken)
  }

  #state({ origin: key, headSeq }: OriginState, from: number): void {
    const origin = key[0] as number
    this.#movedLast.delete(origin)
    if (origin === from) this.#toldSeq.set(origin, headSeq)
  }

  #move(origin: number): void {
    this.#moved.add(origin)
    this.#movedLast.add(origin)
  }

  #speak(status: OriginStatus, before: Spoken | undefined): Spoken {
    const nowMs = this.#world.clock.monotonicMs()
    // Where nothing was held before, nothing was there to be behind.
    if (before?.status.epoch !== status.epoch) return { status, heardMs: nowMs, spokeMs: nowMs, isKnownWrong: false }
    const index = status.key[0] as number
    const { seq, digest, head } = before.status
    if (seq !== status.seq || !equalBytes(digest, status.digest)) this.#moved.add(index)
    const heardMs = nowMs - status.msSinceState
    if (heardMs <= before.heardMs + CLOCK_ERROR * status.msSinceState + ROUNDING_MS) return { ...before, status }
    // When the origin tells of another entry, nobody can say whether the rows are right.
    const isTold = status.seq === this.#toldSeq.get(index)
    const isKnownWrong = this.#isWrong(status) && (isTold || before.isKnownWrong)
    const speaks = this.#moved.has(index) || (seq === head && !isKnownWrong)
    if (!this.#movedLast.has(index)) this.#moved.delete(index)
    return { status, heardMs, spokeMs: speaks ? heardMs : before.spokeMs, isKnownWrong }
  }

  /** Whether the rows are not those that the origin published. */
  #isWrong({ key, epoch, seq, digest }: OriginStatus): boolean {
    const published = this.#world.servers[key[0] as number]?.history.at(epoch, seq)?.digest
    return published !== undefined && !equalBytes(published, digest)
  }

  #judge({ status, spokeMs }: Spoken): void {
    if (status.state !== 'live') return
    const nowMs = this.#world.clock.monotonicMs()
    const endMs = Math.max(latestLeaseEndMs(this.#process, spokeMs), this.#process.resumedMs)
    if (nowMs <= endMs + SLACK_MS) return
    const what = `rows of server ${status.key[0]}, for which no state spoke for ${Math.round(nowMs - spokeMs)} ms`
    this.#world.violation(`I4 server ${this.#process.index}: shows ${what}`)
  }
}
