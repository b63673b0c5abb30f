import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { ByteKey } from '../../../../byte-key.ts'

/** A LEAVE that a peer signed, and the home that passed it on. */
export interface Leave {
  readonly home: ByteKey
  readonly signed: SignedRecord
  readonly seq: bigint
  readonly sessionOrder: bigint
  /** Whether its signature was found good; undefined until somebody needed to know. */
  isGenuine: boolean | undefined
}

interface Departure {
  readonly atMs: number
  readonly leave: Leave | undefined
}

export interface DeparturesOptions {
  /** Departures that are remembered; the oldest gives way. */
  readonly maxDepartures: number
  /** How long one is remembered. */
  readonly keepMs: number
}

/**
 * Who left which topic lately, and the LEAVE that says so. A LEAVE holds against every home of the peer, also against one
 * that has not heard of it: it withholds records of no higher seq and no higher session order.
 */
export class Departures {
  readonly #options: DeparturesOptions
  /** By topic and peer, oldest first. */
  readonly #departures = new Map<string, Departure>()

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  /** Departures that are remembered. */
  get size(): number {
    return this.#departures.size
  }

  /** When the peer left, if that is remembered. */
  atMs(topicKey: ByteKey, peer: ByteKey): number | undefined {
    return this.#departures.get(topicKey + peer)?.atMs
  }

  leave(topicKey: ByteKey, peer: ByteKey): Leave | undefined {
    return this.#departures.get(topicKey + peer)?.leave
  }

  /** Remembers a departure; a LEAVE gives way only to one with a higher seq. */
  add(topicKey: ByteKey, peer: ByteKey, atMs: number, leave: Leave | undefined): void {
    const name = topicKey + peer
    const known = this.#departures.get(name)?.leave
    const newest = known !== undefined && (leave === undefined || leave.seq < known.seq) ? known : leave
    this.#departures.delete(name)
    this.#departures.set(name, { atMs, leave: newest })
    if (this.#departures.size <= this.#options.maxDepartures) return
    for (const oldest of this.#departures.keys()) {
      this.#departures.delete(oldest)
      break
    }
  }

  /** A LEAVE turned out not to be signed by its peer. */
  disown(topicKey: ByteKey, peer: ByteKey): void {
    this.#departures.delete(topicKey + peer)
  }

  /** Forgets what is older than it is kept. */
  expire(nowMs: number): void {
    for (const [name, { atMs }] of this.#departures) {
      if (atMs + this.#options.keepMs > nowMs) return
      this.#departures.delete(name)
    }
  }
}

/** Whether a LEAVE of one home withholds the record of another one. */
export function withholds(leave: Leave, home: ByteKey, seq: bigint, sessionOrder: bigint): boolean {
  return leave.home !== home && seq <= leave.seq && sessionOrder <= leave.sessionOrder
}
