import { equalBytes, toHex } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, bytesOfKey } from '../../../../server/byte-key.ts'
import type { OriginStatus } from '../../../../server/ops/federation-status.ts'
import type { SimProcess } from '../servers/sim-process.ts'
import type { World } from '../world.ts'

/** States that a server which passes another one on may miss before it is not believed to do so any more; two, and rounding. */
const MISSED_STATES = 2.1

/**
 * I12 at one process: it waits for rows only while a server that it hears, itself or through another one, has rows that are not
 * here yet; and only then does it deliver a message of a sender that nobody shows.
 */
export class CatchUpCheck {
  readonly #world: World
  readonly #process: SimProcess
  /** By index of the origin: when something of it came through another server last. */
  readonly #passedOnMs = new Map<number, number>()
  /** Origins whose rows did not all get here: a snapshot may be wanted of rows that are right again. */
  readonly #lossy: ReadonlySet<number>
  /** Messages of strangers that came while rows were on their way. */
  readonly #excused = new Set<ByteKey>()

  constructor(world: World, process: SimProcess, lossy: ReadonlySet<number>) {
    this.#world = world
    this.#process = process
    this.#lossy = lossy
  }

  /** Frames of another server are about to be read. */
  onDelivered(from: number, frames: readonly Frame[]): void {
    const strangers = this.#world.strangers.among(frames)
    if (strangers.length > 0 && this.#mayWait()) for (const id of strangers) this.#excused.add(id)
    for (const { frame } of frames) {
      if (frame.case !== 'rows' && frame.case !== 'originState') continue
      const origin = frame.value.origin[0] as number
      if (origin !== from) this.#passedOnMs.set(origin, this.#world.clock.monotonicMs())
    }
  }

  check(): void {
    if (!this.#process.backplane.isCatchingUp || this.#mayWait()) return
    this.#broken('waits for rows, and has all of those that it hears')
  }

  onStranger(id: ByteKey): void {
    if (this.#excused.has(id)) return
    this.#broken(`delivers message ${toHex(bytesOfKey(id))} of a peer that is no member, and has all rows`)
  }

  #mayWait(): boolean {
    const { origins, neighbours } = this.#process.backplane.status()
    const connected = new Set(neighbours.filter(({ directory }) => directory).map(({ key }) => key[0]))
    return this.#world.servers.some(({ index }) => {
      if (index === this.#process.index || (!connected.has(index) && !this.#mayBePassedOn(index))) return false
      return this.#lossy.has(index) || this.#isIncomplete(origins.find(({ key }) => key[0] === index))
    })
  }

  #mayBePassedOn(origin: number): boolean {
    const { resumedMs, limits } = this.#process
    const lastMs = Math.max(this.#passedOnMs.get(origin) ?? Number.NEGATIVE_INFINITY, resumedMs)
    return this.#world.clock.monotonicMs() < lastMs + MISSED_STATES * limits.federationStateMs
  }

  #isIncomplete(held: OriginStatus | undefined): boolean {
    if (held === undefined || held.seq < held.head) return true
    const { key, epoch, seq, digest } = held
    const published = this.#world.servers[key[0] as number]?.history.at(epoch, seq)?.digest
    return published === undefined || !equalBytes(published, digest)
  }

  #broken(what: string): void {
    this.#world.violation(`I12 server ${this.#process.index}: ${what}`)
  }
}
