import { equalBytes } from '@mesh/core'
import type { Home } from '../../../server/backplane/federation/home.ts'
import type { OriginStatus } from '../../../server/ops/federation-status.ts'
import type { RowFact, Table } from './origin-history.ts'
import type { SimProcess } from './sim-process.ts'
import type { SimServer } from './sim-server.ts'
import { shortEpoch } from './trace.ts'
import type { World } from './world.ts'

interface Position {
  readonly epoch: bigint
  readonly seq: bigint
  readonly state: OriginStatus['state']
  /** What was published up to there. */
  readonly table: Table
}

const EMPTY: Table = new Map()

/** How often all rows are checked instead of those that changed. */
const ALL_ROWS = 16

/** I1, I2 and I3 at one process: its replicas against what their origins published. */
export class ReplicaCheck {
  readonly #world: World
  readonly #process: SimProcess
  readonly #positions = new Map<number, Position>()
  /** Tables of epochs that an origin has left: they may be shown until their lease ends, which I4 watches over. */
  readonly #formers = new Map<number, Table[]>()
  #checks = 0

  constructor(world: World, process: SimProcess) {
    this.#world = world
    this.#process = process
  }

  check(): void {
    this.#checks += 1
    const touched = new Set<string>()
    for (const origin of this.#process.backplane.origins()) this.#checkOrigin(origin, touched)
    if (touched.size > 0) this.#checkHomes(touched)
  }

  /** Adds the rows that may be shown otherwise than before to `touched`. */
  #checkOrigin({ key, epoch, seq, state, rows, digest }: OriginStatus, touched: Set<string>): void {
    const index = key[0] as number
    const before = this.#positions.get(index)
    if (before !== undefined && before.epoch === epoch && before.seq === seq && before.state === state) return
    const server = this.#world.servers[index] as SimServer
    const published = server.history.at(epoch, seq)
    const table = published?.table ?? EMPTY
    this.#positions.set(index, { epoch, seq, state, table })
    const where = `server ${server.index} at ${shortEpoch(epoch)}/${seq}`
    if (before !== undefined && (before.epoch > epoch || (before.epoch === epoch && before.seq > seq))) {
      this.#broken('I3', `goes back from ${shortEpoch(before.epoch)}/${before.seq} of ${where}`)
    }
    if (before !== undefined && before.epoch !== epoch) this.#leaveEpoch(index, before.table)
    // Where nothing is held yet, nothing can be wrong.
    if (published === undefined && rows > 0) {
      this.#broken('I1', `holds ${rows} rows of ${where}, which that never published`)
    }
    if (published === undefined) return
    // Rows that were lost on the way are missed with the next state, not before; that they come is for I5.
    if (this.#world.settings.lostRowRate > 0) return
    if (rows !== table.size) this.#broken('I2', `has ${rows} rows of ${where}, which has ${table.size}`)
    else if (!equalBytes(digest, published.digest ?? digest)) this.#broken('I2', `has another digest than ${where}`)
    if (state !== 'live') return
    const isNext = before !== undefined && before.epoch === epoch && before.state === state
    const keys = isNext && this.#checks % ALL_ROWS !== 0 ? changesBetween(before.table, table) : this.#world.rowKeys
    for (const row of keys) {
      this.#checkRow(server, row, table, where)
      touched.add(row)
    }
  }

  #leaveEpoch(index: number, table: Table): void {
    const formers = this.#formers.get(index)
    if (formers === undefined) this.#formers.set(index, [table])
    else formers.push(table)
  }

  /** A row that was published is shown, unless a departure withholds it; what is shown was published. */
  #checkRow(server: SimServer, key: string, table: Table, where: string): void {
    const { index, name } = server
    const { topicKey, client } = this.#world.rowOf(key)
    const published = table.get(key)
    const shown = this.#process.backplane.homesOf(topicKey, client.peer).filter((home) => home.server === name)
    const isThere = published === undefined || shown.some((home) => isOf(home, published))
    const formers = (this.#formers.get(index) ?? []).map((former) => former.get(key))
    const strange = shown.find((home) => ![published, ...formers].some((row) => row && isOf(home, row)))
    const what = `client ${client.index} in topic ${this.#world.topicKeys.indexOf(topicKey)} of ${where}`
    if (strange !== undefined) this.#broken('I2', `shows ${what}, where it is not`)
    if (published !== undefined && isThere) this.#world.invariants.checkGhost(server, published, this.#process)
    if (!isThere && !client.hasLeft(topicKey, published.recordSeq)) this.#broken('I2', `does not show ${what}`)
  }

  /** The newest session comes first, and is the one that is shown. */
  #checkHomes(keys: ReadonlySet<string>): void {
    const { backplane } = this.#process
    for (const key of keys) {
      const { topicKey, client } = this.#world.rowOf(key)
      const homes = backplane.homesOf(topicKey, client.peer)
      const inOrder = homes.every(({ order }, i) => i === 0 || order <= (homes[i - 1]?.order ?? order))
      if (!inOrder) this.#broken('I2', `names an older session of client ${client.index} before a newer one`)
      if (backplane.members.sessionOf(topicKey, client.peer) !== homes[0]?.session) {
        this.#broken('I2', `shows another session of client ${client.index} than the first of its homes`)
      }
    }
  }

  #broken(name: string, what: string): void {
    this.#world.violation(`${name} server ${this.#process.index}: ${what}`)
  }
}

/** Tables share the rows that did not change. */
function changesBetween(before: Table, after: Table): string[] {
  const keys = [...after.keys()].filter((key) => before.get(key) !== after.get(key))
  for (const key of before.keys()) if (!after.has(key)) keys.push(key)
  return keys
}

function isOf(home: Home, row: RowFact): boolean {
  return home.session === row.session && home.order === row.order
}
