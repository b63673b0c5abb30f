import { fromBinary } from '@bufbuild/protobuf'
import { verifyStatementSync } from '@mesh/core'
import {
  type Frame,
  type OriginState,
  OriginStateSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { Departure } from '../../../../server/backplane/backplane.ts'
import { byteKey } from '../../../../server/byte-key.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess, Step } from '../servers/sim-process.ts'
import type { SimServer } from '../servers/sim-server.ts'
import { standInVerify } from '../servers/stand-in-keys.ts'
import type { World } from '../world.ts'
import { rowKey } from './origin-history.ts'
import { CLOCK_ERROR, isNoticed, latestLeaseEndMs, ROUNDING_MS, stopsAfter } from './stops.ts'

/** What one process was told of one origin, by states that counted. */
interface Told {
  /** When a state counted last. */
  lastMs: number
  /** When each position of the origin's log was told of first, in the order in which that was. */
  readonly positions: { readonly epoch: bigint; readonly head: bigint; readonly ms: number }[]
  /** How far the rows were when a state counted last, and whether any were read since: pages of a snapshot change nothing yet. */
  lastSeq: bigint
  hasRead: boolean
  /** When a state counted last while the rows were behind, and on their way. */
  catchingUpMs: number
  /** By epoch: where the rows were when they were there first. */
  readonly firstSeqs: Map<bigint, bigint>
  /** By epoch: when a state counted last that the rows were up to, before it and after it. */
  readonly currentMs: Map<bigint, number>
  isCurrent: boolean
  /** Whether rows were held back. */
  wasHeld: boolean
  /** Whether a state that the origin made was read since one counted. */
  hasGenuine: boolean
  /** Epoch and head of the states that were passed on: they may count later, when the rows that they tell of have come. */
  readonly passedOn: Set<string>
}

/** Tables of former epochs that a server shows beside the newest one; with more of them the oldest goes early. */
const MAX_FORMER_EPOCHS = 2

/** Rounding: what comes less than this after something else comes with it. */
const SAME_MS = 0.01

/**
 * The leases by which rows live, as they should be: from the states that servers were told, one origin and one process at a
 * time. A lease starts anew when a state counts. Who was stopped gets a grace, once until it hears the origin again.
 */
export class LeaseWatch {
  readonly #world: World
  readonly #told = new WeakMap<SimProcess, Map<number, Told>>()

  constructor(world: World) {
    this.#world = world
  }

  /** Frames of another server are about to be read. */
  onDelivered(process: SimProcess, from: number, frames: readonly Frame[]): void {
    for (const { frame } of frames) {
      if (frame.case === 'rows' && frame.value.origin[0] === from) this.#toldBy(process, from).hasRead = true
      if (frame.case !== 'originState' || !isGenuine(frame.value, from)) continue
      const { origin, signed } = frame.value
      const told = this.#toldBy(process, origin[0] as number)
      told.hasGenuine = true
      if (origin[0] === from || signed === undefined) continue
      const { epoch, headSeq } = fromBinary(OriginStateSchema, signed.statement)
      told.passedOn.add(`${epoch}/${headSeq}`)
    }
  }

  onRowsHeld(process: SimProcess, origin: number): void {
    this.#toldBy(process, origin).wasHeld = true
  }

  /** I1: nobody is told anything of an origin but by that origin. */
  check({ process, origins }: Step): void {
    for (const origin of origins) {
      const index = origin.key[0] as number
      if (index !== process.index) this.#heard(process, index, origin)
    }
  }

  /**
   * I4: until when a row may be shown that ended with the entry `seq` of an epoch: for a lease after a state first told of
   * that entry, or of another epoch, or came while what was missed was on its way. When no state did, for a lease after the last one.
   */
  shownUntilMs(process: SimProcess, origin: number, epoch: bigint, seq: bigint): number {
    const told = this.#toldBy(process, origin)
    if (!this.#isStrict(told)) return Number.POSITIVE_INFINITY
    const { positions, lastMs, catchingUpMs } = told
    const news = positions.find((one) => one.epoch > epoch || (one.epoch === epoch && one.head >= seq))
    return latestLeaseEndMs(process, news === undefined ? lastMs : Math.max(news.ms, catchingUpMs))
  }

  /**
   * I4, the other way round: nobody is said to be lost whose home was heard within a lease, or a grace after a stop. Of a home that
   * began another epoch the former one's rows have leases of their own, unless they are in both.
   */
  lostTooEarly(process: SimProcess, home: SimProcess, { topicKey, peer, sessionId }: Departure): string | undefined {
    const told = this.#toldBy(process, home.index)
    if (!this.#isStrict(told)) return undefined
    const { history } = this.#world.servers[home.index] as SimServer
    if (history.epochsAfter(home.boot) > MAX_FORMER_EPOCHS) return undefined
    const [key, session] = [rowKey(topicKey, peer), byteKey(sessionId)]
    const epochs = [...told.currentMs].filter(([epoch]) => {
      return history.bootOf(epoch) === home.boot && history.hadRow(epoch, told.firstSeqs.get(epoch) ?? 0n, key, session)
    })
    const heardMs = Math.max(...epochs.map(([, ms]) => ms))
    if (heardMs === Number.NEGATIVE_INFINITY) return undefined
    const nowMs = this.#world.clock.monotonicMs()
    const { federationLeaseMs, federationPauseGraceMs } = process.limits
    if (nowMs < heardMs + federationLeaseMs * (1 - CLOCK_ERROR)) {
      return `${Math.round(nowMs - heardMs)} ms after its server was heard`
    }
    // The first that may have been noticed used up the grace, even one that was noticed just after the origin was heard.
    const [stop] = stopsAfter(process, heardMs - SAME_MS)
    if (stop === undefined || !isNoticed(stop, process)) return undefined
    const isEarly = nowMs < stop.untilMs + federationPauseGraceMs * (1 - CLOCK_ERROR)
    return isEarly ? `${Math.round(nowMs - stop.untilMs)} ms after this server was stopped` : undefined
  }

  /**
   * Where frames get lost, or are held back, a server may be behind and hear so many times while what it misses comes, and each time its rows are
   * good for a lease more. No line does that; the ghost bound over all holds all the same.
   */
  #isStrict({ wasHeld }: Told): boolean {
    const { tamperRate, lostRowRate } = this.#world.settings
    return tamperRate === 0 && lostRowRate === 0 && !wasHeld
  }

  /** Takes down that a state counted: now, or before there were rows. */
  #heard(process: SimProcess, index: number, origin: OriginStatus): void {
    const { epoch, seq, head, digest, state, msSinceState } = origin
    const told = this.#toldBy(process, index)
    const published = this.#world.servers[index]?.history.at(epoch, head)
    if (!told.firstSeqs.has(epoch)) told.firstSeqs.set(epoch, seq)
    const wasCurrent = told.isCurrent
    told.isCurrent = seq === head && published !== undefined && isSame(digest, published.digest)
    const heardMs = this.#world.clock.monotonicMs() - msSinceState
    // Rows without a state have no lease: what counts from then on is that there are any.
    const isNew = told.lastMs === Number.NEGATIVE_INFINITY && !told.hasGenuine && state === 'hidden'
    if (isNew || heardMs <= told.lastMs + CLOCK_ERROR * msSinceState + ROUNDING_MS) return
    if (!told.hasGenuine && !told.passedOn.has(`${epoch}/${head}`)) {
      this.#world.violation(`I1 server ${process.index}: counts a state of server ${index} that this never made`)
    }
    const isMoving = seq > told.lastSeq || told.hasRead || this.#upSinceMs(process, index) >= told.lastMs
    if (seq < head && isMoving) told.catchingUpMs = heardMs
    told.lastSeq = seq
    told.hasRead = false
    told.hasGenuine = false
    told.lastMs = heardMs
    const last = told.positions.at(-1)
    if (last?.epoch !== epoch || last.head !== head) told.positions.push({ epoch, head, ms: heardMs })
    // One that counted before there were rows said nothing of these.
    if (wasCurrent && told.isCurrent && msSinceState <= SAME_MS) told.currentMs.set(epoch, heardMs)
  }

  /** Since when there is a stream with the origin. */
  #upSinceMs(process: SimProcess, index: number): number {
    const { neighbours } = process.backplane.status()
    const upMs = neighbours.find(({ key }) => key[0] === index)?.upMs.directory
    return upMs === undefined ? Number.NEGATIVE_INFINITY : this.#world.clock.monotonicMs() - upMs
  }

  #toldBy(process: SimProcess, index: number): Told {
    const origins = this.#told.get(process) ?? new Map<number, Told>()
    this.#told.set(process, origins)
    const told = origins.get(index) ?? nothing()
    origins.set(index, told)
    return told
  }
}

function nothing(): Told {
  return {
    lastMs: Number.NEGATIVE_INFINITY,
    positions: [],
    lastSeq: 0n,
    hasRead: false,
    catchingUpMs: Number.NEGATIVE_INFINITY,
    firstSeqs: new Map(),
    currentMs: new Map(),
    isCurrent: false,
    wasHeld: false,
    hasGenuine: false,
    passedOn: new Set(),
  }
}

/** Whether the origin made this state: it comes from there, or has its signature. */
function isGenuine({ origin, signed }: OriginState, from: number): boolean {
  if (origin[0] === from) return true
  if (signed === undefined) return false
  try {
    verifyStatementSync(origin, 'origin-state', signed.statement, signed.signature, standInVerify)
    return fromBinary(OriginStateSchema, signed.statement).origin[0] === origin[0]
  } catch {
    return false
  }
}

function isSame(digest: Uint8Array, published: Uint8Array | undefined): boolean {
  return published === undefined || Buffer.compare(digest, published) === 0
}
