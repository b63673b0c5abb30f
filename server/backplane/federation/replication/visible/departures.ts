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
  readonly leaves: readonly Leave[]
}

const NO_LEAVES: readonly Leave[] = []

/** LEAVEs of one peer in one topic: it signs one in each session, and their seqs rise in whatever order it does so. */
const MAX_LEAVES = 4

export interface DeparturesOptions {
  /** Departures that are remembered; the oldest gives way. */
  readonly maxDepartures: number
  /** How long one is remembered. */
  readonly keepMs: number
}

/**
 * Who left which topic lately, and the LEAVEs that say so. A LEAVE holds against every home of the peer, also against one
 * that has not heard of it: it withholds records of no higher seq and no higher session order. Of two LEAVEs neither may
 * say all that the other one does, so both are kept.
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

  leaves(topicKey: ByteKey, peer: ByteKey): readonly Leave[] {
    return this.#departures.get(topicKey + peer)?.leaves ?? NO_LEAVES
  }

  /** Remembers a departure; a LEAVE gives way only to one of no lower seq and no lower session order. */
  add(topicKey: ByteKey, peer: ByteKey, atMs: number, leave: Leave | undefined): void {
    const name = topicKey + peer
    const known = this.#departures.get(name)?.leaves ?? NO_LEAVES
    const leaves = leave === undefined ? known : withLeave(known, leave)
    this.#departures.delete(name)
    this.#departures.set(name, { atMs, leaves })
    if (this.#departures.size <= this.#options.maxDepartures) return
    for (const oldest of this.#departures.keys()) {
      this.#departures.delete(oldest)
      break
    }
  }

  /** A LEAVE turned out not to be signed by its peer. */
  disown(topicKey: ByteKey, peer: ByteKey, leave: Leave): void {
    const name = topicKey + peer
    const departure = this.#departures.get(name)
    if (departure === undefined) return
    const leaves = departure.leaves.filter((other) => other !== leave)
    if (leaves.length === 0) this.#departures.delete(name)
    else this.#departures.set(name, { ...departure, leaves })
  }

  /** Forgets what is older than it is kept. */
  expire(nowMs: number): void {
    for (const [name, { atMs }] of this.#departures) {
      if (atMs + this.#options.keepMs > nowMs) return
      this.#departures.delete(name)
    }
  }
}

/** With one more, without those that it makes needless: of the newest session first, and not too many. */
function withLeave(leaves: readonly Leave[], added: Leave): readonly Leave[] {
  if (leaves.some((leave) => covers(leave, added))) return leaves
  const others = leaves.filter((leave) => !covers(added, leave))
  return [...others, added].sort(byNewestSession).slice(0, MAX_LEAVES)
}

/** Whether a LEAVE withholds all that another one does. What the home of either has is for the log of that home. */
function covers(leave: Leave, other: Leave): boolean {
  return leave.seq >= other.seq && leave.sessionOrder >= other.sessionOrder
}

function byNewestSession(a: Leave, b: Leave): number {
  return a.sessionOrder > b.sessionOrder ? -1 : 1
}

/** Whether a LEAVE of one home withholds the record of another one. */
export function withholds(leave: Leave, home: ByteKey, seq: bigint, sessionOrder: bigint): boolean {
  return leave.home !== home && seq <= leave.seq && sessionOrder <= leave.sessionOrder
}
