import { equalBytes } from '@mesh/core'
import type { Home } from '../../../../server/backplane/federation/home.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess, Step } from '../servers/sim-process.ts'
import type { SimServer } from '../servers/sim-server.ts'
import { shortEpoch } from '../trace.ts'
import type { World } from '../world.ts'
import type { RowFact, Table } from './origin-history.ts'

interface Position {
  readonly epoch: bigint
  readonly seq: bigint
  readonly state: OriginStatus['state']
  /** What was published up to there. */
  readonly table: Table
}

/** What is held of an origin, and where. */
interface Held {
  readonly table: Table
  readonly homes: readonly Home[]
  readonly where: string
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
  /** Origins whose rows did not all get here, so that a digest has to tell. */
  readonly #lossy: ReadonlySet<number>
  #checks = 0

  constructor(world: World, process: SimProcess, lossy: ReadonlySet<number>) {
    this.#world = world
    this.#process = process
    this.#lossy = lossy
  }

  /** I5: replicas that are not as their origins are now, or are not known to be. */
  differences(): string[] {
    const { backplane, index: self } = this.#process
    const held = new Map(backplane.origins().map((origin) => [origin.key[0], origin]))
    const others = this.#world.servers.flatMap(({ index, process }) => {
      const [own] = process?.state === 'running' ? process.backplane.origins() : []
      const replica = held.get(index)
      if (own === undefined || index === self) return []
      const isAtHead = replica?.epoch === own.epoch && replica.seq === own.head
      if (isAtHead && replica.rows === own.rows && equalBytes(replica.digest, own.digest)) return []
      const where = replica === undefined ? 'nothing' : `another table, at ${shortEpoch(replica.epoch)}/${replica.seq},`
      return [`server ${self} holds ${where} of server ${index} at ${shortEpoch(own.epoch)}/${own.head}`]
    })
    return backplane.isCatchingUp ? [...others, `server ${self} waits for rows`] : others
  }

  check({ origins }: Step): void {
    this.#checks += 1
    const touched = new Map<string, readonly Home[]>()
    for (const origin of origins) this.#checkOrigin(origin, touched)
    if (touched.size > 0) this.#checkHomes(touched)
  }

  /** Adds the rows that may be shown otherwise than before to `touched`. */
  #checkOrigin({ key, epoch, seq, state, rows, digest }: OriginStatus, touched: Map<string, readonly Home[]>): void {
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
    if (before !== undefined && before.epoch !== epoch) {
      const formers = this.#formers.get(index) ?? []
      this.#formers.set(index, [...formers, before.table, ...server.history.tablesUntil(epoch, before)])
    }
    // Where nothing is held yet, nothing can be wrong.
    if (published === undefined && rows > 0) {
      this.#broken('I1', `holds ${rows} rows of ${where}, which that never published`)
    }
    if (published === undefined) return
    // Rows that were lost on the way are missed with the next state, not before; that they come is for I5.
    if (this.#lossy.has(index)) return
    if (rows !== table.size) this.#broken('I2', `has ${rows} rows of ${where}, which has ${table.size}`)
    else if (!equalBytes(digest, published.digest ?? digest)) this.#broken('I2', `has another digest than ${where}`)
    if (state !== 'live') return
    const isNext = before !== undefined && before.epoch === epoch && before.state === state
    const keys = isNext && this.#checks % ALL_ROWS !== 0 ? changesBetween(before.table, table) : this.#world.rowKeys
    for (const row of keys) {
      const homes = touched.get(row) ?? this.#homesOf(row)
      touched.set(row, homes)
      this.#checkRow(server, row, { table, homes, where })
    }
  }

  /** A row that was published is shown, unless a departure withholds it; what is shown was published. */
  #checkRow(server: SimServer, key: string, { table, homes, where }: Held): void {
    const { index, name } = server
    const { topicKey, client } = this.#world.rowOf(key)
    const published = table.get(key)
    const shown = homes.filter((home) => home.server === name)
    const isThere = published === undefined || shown.some((home) => isOf(home, published))
    const formers = (this.#formers.get(index) ?? []).map((former) => former.get(key))
    const strange = shown.find((home) => ![published, ...formers].some((row) => row && isOf(home, row)))
    const what = `client ${client.index} in topic ${this.#world.topicKeys.indexOf(topicKey)} of ${where}`
    if (strange !== undefined) this.#broken('I2', `shows ${what}, where it is not`)
    if (published !== undefined && isThere) this.#world.invariants.checkGhost(server, published, this.#process)
    if (!isThere && !client.hasLeft(topicKey, published.recordSeq)) this.#broken('I2', `does not show ${what}`)
  }

  /** The newest session comes first, and is the one that is shown. */
  #checkHomes(touched: ReadonlyMap<string, readonly Home[]>): void {
    const { backplane } = this.#process
    for (const [key, homes] of touched) {
      const { topicKey, client } = this.#world.rowOf(key)
      const inOrder = homes.every(({ order }, i) => i === 0 || order <= (homes[i - 1]?.order ?? order))
      if (!inOrder) this.#broken('I2', `names an older session of client ${client.index} before a newer one`)
      if (backplane.members.sessionOf(topicKey, client.peer) !== homes[0]?.session) {
        this.#broken('I2', `shows another session of client ${client.index} than the first of its homes`)
      }
    }
  }

  #homesOf(key: string): readonly Home[] {
    const { topicKey, client } = this.#world.rowOf(key)
    return this.#process.backplane.homesOf(topicKey, client.peer)
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
