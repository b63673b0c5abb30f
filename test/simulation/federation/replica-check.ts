import { equalBytes } from '@mesh/core'
import type { Home } from '../../../server/backplane/federation/home.ts'
import { type ByteKey, byteKey } from '../../../server/byte-key.ts'
import type { OriginStatus } from '../../../server/ops/federation-status.ts'
import { type RowFact, rowKey, type Table } from './origin-history.ts'
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

/** I1, I2 and I3 at one process: its replicas against what their origins published. */
export class ReplicaCheck {
  readonly #world: World
  readonly #process: SimProcess
  readonly #positions = new Map<ByteKey, Position>()
  /** Tables of epochs that an origin has left: they may be shown until their lease ends, which I4 watches over. */
  readonly #formers = new Map<ByteKey, Table[]>()

  constructor(world: World, process: SimProcess) {
    this.#world = world
    this.#process = process
  }

  check(): void {
    let moved = false
    for (const origin of this.#process.backplane.status().origins) moved = this.#checkOrigin(origin) || moved
    if (moved) this.#checkHomes()
  }

  /** True when the origin is not where it was at the last step. */
  #checkOrigin({ key, epoch, seq, state, rows, digest }: OriginStatus): boolean {
    const name = byteKey(key)
    const before = this.#positions.get(name)
    if (before !== undefined && before.epoch === epoch && before.seq === seq && before.state === state) return false
    const server = this.#world.servers[key[0] as number] as SimServer
    const published = server.history.at(epoch, seq)
    const table = published?.table ?? EMPTY
    this.#positions.set(name, { epoch, seq, state, table })
    const where = `server ${server.index} at ${shortEpoch(epoch)}/${seq}`
    if (before !== undefined && (before.epoch > epoch || (before.epoch === epoch && before.seq > seq))) {
      this.#broken('I3', `goes back from ${shortEpoch(before.epoch)}/${before.seq} of ${where}`)
    }
    if (before !== undefined && before.epoch !== epoch) this.#leaveEpoch(name, before.table)
    // Where nothing is held yet, nothing can be wrong.
    if (published === undefined && rows > 0)
      this.#broken('I1', `holds ${rows} rows of ${where}, which that never published`)
    if (published === undefined) return true
    if (rows !== table.size) this.#broken('I2', `has ${rows} rows of ${where}, which has ${table.size}`)
    else if (!equalBytes(digest, published.digest ?? digest)) this.#broken('I2', `has another digest than ${where}`)
    if (state === 'live') this.#checkTable(name, table, where)
    return true
  }

  #leaveEpoch(name: ByteKey, table: Table): void {
    const formers = this.#formers.get(name)
    if (formers === undefined) this.#formers.set(name, [table])
    else formers.push(table)
  }

  /** Each row that was published is shown, unless a departure withholds it, and each that is shown was published. */
  #checkTable(name: ByteKey, table: Table, where: string): void {
    for (const topicKey of this.#world.topicKeys) {
      for (const client of this.#world.clients) {
        const key = rowKey(topicKey, client.peer)
        const published = table.get(key)
        const shown = this.#process.backplane.homesOf(topicKey, client.peer).filter((home) => home.server === name)
        const what = `client ${client.index} in topic ${this.#world.topicKeys.indexOf(topicKey)}`
        const isThere = published === undefined || shown.some((home) => isOf(home, published))
        if (!isThere && !client.hasLeft(topicKey, published.recordSeq)) {
          this.#broken('I2', `does not show ${what} of ${where}`)
        }
        const formers = (this.#formers.get(name) ?? []).map((former) => former.get(key))
        const strange = shown.find((home) => ![published, ...formers].some((row) => row && isOf(home, row)))
        if (strange !== undefined) this.#broken('I2', `shows ${what} of ${where}, where it is not`)
      }
    }
  }

  /** The newest session comes first, and is the one that is shown. */
  #checkHomes(): void {
    const { members } = this.#process.backplane
    for (const topicKey of this.#world.topicKeys) {
      for (const { peer, index } of this.#world.clients) {
        const homes = this.#process.backplane.homesOf(topicKey, peer)
        const inOrder = homes.every(({ order }, i) => i === 0 || order <= (homes[i - 1]?.order ?? order))
        if (!inOrder) this.#broken('I2', `names an older session of client ${index} before a newer one`)
        if (members.sessionOf(topicKey, peer) !== homes[0]?.session) {
          this.#broken('I2', `shows another session of client ${index} than the first of its homes`)
        }
      }
    }
  }

  #broken(name: string, what: string): void {
    this.#world.violation(`${name} server ${this.#process.index}: ${what}`)
  }
}

function isOf(home: Home, row: RowFact): boolean {
  return home.session === row.session && home.order === row.order
}
