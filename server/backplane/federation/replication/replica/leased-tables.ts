import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { ServerLimits } from '../../../../limits/server-limits.ts'
import type { RowTable } from '../table/row-table.ts'
import type { VisibleSet } from '../visible/visible-set.ts'

export interface LeasedTablesOptions {
  readonly visible: VisibleSet
  readonly limits: ServerLimits
  readonly nowMs: () => number
}

/** What of the origin's rows there is. */
type Stage =
  /** No rows: none came yet, or they were dropped. */
  | { readonly kind: 'empty' }
  /** The rows are shown, until the lease ends. */
  | { readonly kind: 'live' }
  /** The lease ended. The rows wait for the origin: what it had when it is heard again must be reached before they are shown. */
  | { readonly kind: 'hidden'; readonly dropAtMs: number; readonly needsSeq: bigint | undefined }

/** The table of an epoch that the origin left behind: shown until the lease that it had ends. */
interface FormerTable {
  readonly table: RowTable
  readonly untilMs: number
  /** As for the lease of the newest table: that the new epoch is heard says nothing of this one. */
  readonly hasGrace: boolean
}

/** Tables of former epochs that are shown at once; the oldest gives way. */
const MAX_FORMER_TABLES = 2

/**
 * The rows of one origin and the lease that they live by: shown while it runs, hidden when it ends, dropped some time
 * later, and forgotten, with epoch and seq, later still. Nothing but time and the origin's own word changes that; that a
 * stream ended is no reason.
 *
 * When the origin starts a new epoch, the rows of the old one stay as long as they would have without. Its peers come
 * back one by one, and whoever does is never seen to leave; whoever goes again in the new epoch goes from the old one too.
 */
export class LeasedTables {
  readonly #options: LeasedTablesOptions
  #table: RowTable | undefined
  #stage: Stage = { kind: 'empty' }
  #formers: FormerTable[] = []
  #heardMs: number
  #leaseEndsMs = Number.NEGATIVE_INFINITY
  /** Whether the lease was prolonged, for a pause of this process, since the origin was heard. */
  #hasGrace = false

  constructor(options: LeasedTablesOptions) {
    this.#options = options
    this.#heardMs = options.nowMs()
  }

  /** The rows of the epoch, if there are any. */
  get table(): RowTable | undefined {
    return this.#table
  }

  get stage(): Stage['kind'] {
    return this.#stage.kind
  }

  get msSinceHeard(): number {
    return this.#options.nowMs() - this.#heardMs
  }

  /** When `tick` has something to do. */
  get dueMs(): number {
    return Math.min(this.#stageEndsMs(), ...this.#formers.map(({ untilMs }) => untilMs))
  }

  /** The origin was heard, and was at `headSeq`. `leaseMs`: how long the rows are good for now; undefined when it did not
   * speak for them. */
  heard(headSeq: bigint, leaseMs: number | undefined): void {
    this.#heardMs = this.#options.nowMs()
    const stage = this.#stage
    if (stage.kind === 'hidden' && stage.needsSeq === undefined) this.#stage = { ...stage, needsSeq: headSeq }
    if (leaseMs === undefined) return
    this.#leaseEndsMs = this.#heardMs + leaseMs
    this.#hasGrace = false
  }

  /** The table reached `seq`: what was hidden is shown, if that is enough. */
  reached(seq: bigint): void {
    const stage = this.#stage
    if (stage.kind !== 'hidden' || stage.needsSeq === undefined || seq < stage.needsSeq) return
    if (this.#isLeased) this.#show()
  }

  /** A newer table of the same epoch: its rows are there before the old ones are not, so that nobody seems to leave. */
  replace(table: RowTable): void {
    const old = this.#table
    this.#table = table
    if (this.#stage.kind === 'live' || (this.#stage.kind === 'empty' && this.#isLeased)) this.#show()
    else if (this.#stage.kind === 'empty') this.#hide()
    if (old !== undefined) this.#options.visible.drop(old, DepartureReason.EXPIRED)
  }

  /** The origin started a new epoch. */
  startOver(): void {
    const table = this.#table
    if (table !== undefined && this.#stage.kind === 'live') {
      table.isFormer = true
      this.#formers.push({ table, untilMs: this.#leaseEndsMs, hasGrace: this.#hasGrace })
      if (this.#formers.length > MAX_FORMER_TABLES) this.#drop(this.#formers.shift()?.table)
    } else {
      this.#drop(table)
    }
    this.#table = undefined
    this.#stage = { kind: 'empty' }
  }

  /** This process was paused: the origin gets some time to be heard before it is judged, once until it was. */
  grantGrace(graceMs: number): void {
    const earliestMs = this.#options.nowMs() + graceMs
    if (!this.#hasGrace) this.#leaseEndsMs = Math.max(this.#leaseEndsMs, earliestMs)
    this.#hasGrace = true
    this.#formers = this.#formers.map((former) => {
      return former.hasGrace ? former : { ...former, untilMs: Math.max(former.untilMs, earliestMs), hasGrace: true }
    })
  }

  /** Does what is due. False when the origin can be forgotten. */
  tick(): boolean {
    const nowMs = this.#options.nowMs()
    const ended = this.#formers.filter(({ untilMs }) => untilMs <= nowMs)
    this.#formers = this.#formers.filter(({ untilMs }) => untilMs > nowMs)
    for (const { table } of ended) this.#drop(table)
    if (this.#stageEndsMs() > nowMs) return true
    if (this.#stage.kind === 'empty') return false
    if (this.#stage.kind === 'live') this.#hide()
    else this.#empty()
    return true
  }

  /** Everything goes. */
  clear(): void {
    this.#empty()
    for (const { table } of this.#formers.splice(0)) this.#drop(table)
  }

  get #isLeased(): boolean {
    return this.#options.nowMs() < this.#leaseEndsMs
  }

  #stageEndsMs(): number {
    const { federationHiddenMs, federationEpochMemoryMs } = this.#options.limits
    switch (this.#stage.kind) {
      case 'live':
        return this.#leaseEndsMs
      case 'hidden':
        return this.#stage.dropAtMs
      case 'empty':
        return this.#heardMs + federationHiddenMs + federationEpochMemoryMs
    }
  }

  #show(): void {
    if (this.#table !== undefined) this.#options.visible.show(this.#table)
    this.#stage = { kind: 'live' }
  }

  #hide(): void {
    const { visible, limits, nowMs } = this.#options
    if (this.#table !== undefined) visible.hide(this.#table, DepartureReason.SERVER_LOST)
    this.#stage = { kind: 'hidden', dropAtMs: nowMs() + limits.federationHiddenMs, needsSeq: undefined }
  }

  #empty(): void {
    this.#drop(this.#table)
    this.#table = undefined
    this.#stage = { kind: 'empty' }
  }

  #drop(table: RowTable | undefined): void {
    if (table !== undefined) this.#options.visible.drop(table, DepartureReason.SERVER_LOST)
  }
}
