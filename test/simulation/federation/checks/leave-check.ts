import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { bytesOfKey } from '../../../../server/byte-key.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess, Step } from '../servers/sim-process.ts'
import type { SimServer } from '../servers/sim-server.ts'
import type { World } from '../world.ts'
import { rowKey, type SignedLeave } from './origin-history.ts'

interface Position {
  readonly epoch: bigint
  readonly seq: bigint
}

/** A LEAVE that the process took, and the server that it was signed for. */
interface Taken {
  readonly home: SimServer
  readonly leave: SignedLeave
}

/**
 * I11 at one process: from the moment on at which it took a signed LEAVE from a log, its own or another server's, no other
 * home of that peer is shown in that topic with a session of no higher order, unless the peer joined there with a later
 * record. Who gets a snapshot instead of the log is not told of the LEAVEs in between.
 */
export class LeaveCheck {
  readonly #world: World
  readonly #process: SimProcess
  /** By index of the origin: what was held after the last step. */
  #positions = new Map<number, Position>()
  /** Origins of which a page of a snapshot was read since the last step. */
  readonly #replaced = new Set<number>()
  /** By index of the origin: the epoch of a snapshot that came through a third server. It may count with any later state. */
  readonly #passedOn = new Map<number, bigint>()
  /** Origins whose rows did not all get here. */
  readonly #lossy: ReadonlySet<number>
  /** By `rowKey`. */
  readonly #taken = new Map<string, Taken[]>()

  constructor(world: World, process: SimProcess, lossy: ReadonlySet<number>) {
    this.#world = world
    this.#process = process
    this.#lossy = lossy
  }

  /** Frames of another server are about to be read. */
  onDelivered(from: number, frames: readonly Frame[]): void {
    for (const { frame } of frames) {
      if (frame.case !== 'rows' || frame.value.snapshot === undefined) continue
      const origin = frame.value.origin[0] as number
      if (origin === from) this.#replaced.add(origin)
      else this.#passedOn.set(origin, frame.value.epoch)
    }
  }

  check({ origins }: Step): void {
    const before = this.#positions
    this.#positions = new Map(origins.map(({ key, epoch, seq }) => [key[0] as number, { epoch, seq }]))
    const hasMoved = origins.filter((origin) => this.#take(origin, before.get(origin.key[0] as number))).length > 0
    this.#replaced.clear()
    if (!hasMoved) return
    for (const [key, taken] of this.#taken) this.#checkRow(key, taken)
  }

  /** Adds the LEAVEs that an origin's entries brought. Returns whether anything of it is not as it was. */
  #take({ key, epoch, seq }: OriginStatus, before: Position | undefined): boolean {
    const home = this.#world.servers[key[0] as number] as SimServer
    if (before?.epoch === epoch && before.seq === seq) return false
    const { index } = home
    const isSnapshot = this.#replaced.has(index) || this.#passedOn.get(index) === epoch
    if (before?.epoch !== epoch || isSnapshot || this.#lossy.has(index)) return true
    for (const leave of home.history.leavesBetween(epoch, before.seq, seq)) {
      const name = rowKey(leave.topicKey, leave.peer)
      const taken = this.#taken.get(name) ?? []
      this.#taken.set(name, taken)
      taken.push({ home, leave })
    }
    return true
  }

  #checkRow(key: string, taken: readonly Taken[]): void {
    const { topicKey, client } = this.#world.rowOf(key)
    for (const { server, session, order } of this.#process.backplane.homesOf(topicKey, client.peer)) {
      const broken = taken.find(({ home, leave }) => {
        const isCovered = server !== home.name && order <= leave.order
        return isCovered && !client.joinedAfter(topicKey, session, leave.recordSeq)
      })
      if (broken === undefined) continue
      const who = `client ${client.index} in topic ${this.#world.topicKeys.indexOf(topicKey)}`
      const what = `${who} at server ${bytesOfKey(server)[0]}, and took its LEAVE at server ${broken.home.index}`
      this.#world.violation(`I11 server ${this.#process.index}: shows ${what}`)
    }
  }
}
