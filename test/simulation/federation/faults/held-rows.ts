import { create } from '@bufbuild/protobuf'
import type { Random } from '@mesh/core'
import { type Frame, FrameSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { World } from '../world.ts'
import { withRowLost } from './forgery.ts'
import type { Writing } from './tampering.ts'

interface Hold {
  readonly from: number
  readonly to: number
  readonly untilMs: number
  /** The stream whose rows are held back; undefined until rows are written. Another one that takes its place is whole. */
  stream: object | undefined
  /** One more frame gets there, a row short: what would mend that is held back. */
  isWrong: boolean
}

/** Says nothing, and costs a credit as rows do. */
const NOTHING = create(FrameSchema, { frame: { case: 'interest', value: { all: true } } })

/** Leases for which rows are held back, at least and at most. */
const LEASES = [0.5, 4] as const

/**
 * Rows that stop while states go on, as when the log of a server stands still and its heart beats. Now and then all rows that
 * one server writes to another on one stream, its own and what it passes on, are held back for a while.
 */
export class HeldRows {
  readonly #world: World
  readonly #random: Random
  /** One for each pair: whoever calls again counts as heard, and with rows held back after every call that never ends. */
  readonly #holds: Hold[] = []

  constructor(world: World, random: Random) {
    this.#world = world
    this.#random = random
  }

  /** Sets off one hold after the other until the faults are over. */
  start(): void {
    const { clock, settings } = this.#world
    if (settings.holdsPerMinute === 0) return
    const delayMs = -Math.log(1 - this.#random.uniform()) * (60_000 / settings.holdsPerMinute)
    clock.schedule(delayMs, () => {
      if (this.#world.faultsOver) return
      this.#begin()
      this.start()
    })
  }

  /** The frames that travel in place of these. */
  frames({ stream, from, to }: Writing, frames: readonly Frame[]): readonly Frame[] {
    const hold = this.#holdOf(from, to)
    if (hold === undefined || !frames.some(isRows)) return frames
    hold.stream ??= stream
    return hold.stream === stream ? frames.map((frame) => (isRows(frame) ? this.#held(hold, frame) : frame)) : frames
  }

  #begin(): void {
    const { clock, settings, servers } = this.#world
    const from = Math.floor(this.#random.uniform() * servers.length)
    const to = (from + 1 + Math.floor(this.#random.uniform() * (servers.length - 1))) % servers.length
    if (this.#holds.some((hold) => hold.from === from && hold.to === to)) return
    const leases = LEASES[0] + this.#random.uniform() * (LEASES[1] - LEASES[0])
    const forMs = leases * settings.limits.federationLeaseMs
    const isWrong = this.#random.uniform() < 0.5
    this.#world.trace(`rows of server ${from} for server ${to} are held back for ${Math.round(forMs)} ms`)
    this.#world.count('heldRows')
    this.#holds.push({ from, to, untilMs: clock.monotonicMs() + forMs, stream: undefined, isWrong })
  }

  #holdOf(from: number, to: number): Hold | undefined {
    const { clock, faultsOver } = this.#world
    if (faultsOver || this.#holds.length === 0) return undefined
    return this.#holds.find((hold) => hold.from === from && hold.to === to && clock.monotonicMs() < hold.untilMs)
  }

  #held(hold: Hold, frame: Frame): Frame {
    const { from, to, isWrong } = hold
    if (frame.frame.case !== 'rows' || frame.frame.value.origin[0] !== from) return NOTHING
    hold.isWrong = false
    this.#world.invariants.onRowsHeld(from, to)
    if (!isWrong) return NOTHING
    this.#world.invariants.onRowsLost(from, to)
    return withRowLost(frame.frame.value, this.#random)
  }
}

function isRows({ frame }: Frame): boolean {
  return frame.case === 'rows'
}
