import { CongestionWindow } from './sctp-congestion.ts'
import type { SackChunk } from './sctp-packet.ts'
import { Patience } from './sctp-patience.ts'
import { RoundTrip } from './sctp-round-trip.ts'

/**
 * What was sent and is not acknowledged yet, in place of werift's loss recovery, which loses count of what is in flight when a
 * timer expires and waits for that timer whenever a retransmission is lost again.
 *
 * 1. Packets are numbered as they leave, retransmissions too. A chunk is lost when a packet has arrived that left three packets
 *    later, or later at all and the chunk is a round trip old (RFC 9002 section 6.1). That finds a lost retransmission
 *    as fast as a lost original. What comes after all makes us wait longer from then on (`sctp-patience.ts`).
 * 2. When nothing comes any more, the last two chunks are sent again to ask (RFC 9002 section 6.2, RFC 8985 section 7): the
 *    answer says what arrived. The last ones, because the first of a flight that was only late would say that all others are lost.
 * 3. The window is halved once in a round trip in which something was lost, and falls to one chunk when nothing has arrived
 *    for a second (RFC 9260 sections 7.2.3 and 7.2.4). It is given back when all of that had only been overtaken.
 *
 * Without a timer of its own: whoever uses it calls `expire` at `deadlineMs`.
 */
export class Flight<C extends FlightChunk> {
  readonly #window: CongestionWindow
  readonly #roundTrip = new RoundTrip()
  /** Their TSNs follow one another, from the one after `#cumulativeTsn`. */
  readonly #chunks: C[] = []
  #cumulativeTsn: number
  #peerWindowBytes = Number.POSITIVE_INFINITY
  #bytes = 0
  #lostCount = 0
  #lastPacket = 0
  #lastSentAtMs = 0
  #newestArrived = 0
  /** The window was reduced when this was the next packet: what left before it says nothing new. */
  #reducedAtPacket = 0
  #arrivedAtMs = 0
  #timeouts = 0
  #spareChunks = 0
  #lossAtMs: number | undefined
  /** How much packets overtake each other here. */
  readonly #patience = new Patience()
  /** Chunks taken for lost since the window was reduced, and not shown to have been late. */
  #lostSinceReduced = 0

  /** `cumulativeTsn`: the number before the first. `chunkBytes`: the data of the largest chunk. */
  constructor(cumulativeTsn: number, chunkBytes: number) {
    this.#cumulativeTsn = cumulativeTsn
    this.#window = new CongestionWindow(chunkBytes)
  }

  /** Data on its way: neither acknowledged nor given up as lost. */
  get bytes(): number {
    return this.#bytes
  }

  get windowBytes(): number {
    return this.#window.bytes
  }

  get timeoutMs(): number {
    return this.#roundTrip.timeoutMs
  }

  set peerWindowBytes(bytes: number) {
    this.#peerWindowBytes = bytes
  }

  /** Whether the peer has room for new data. A single chunk may probe a window that is too small (RFC 9260 section 6.1 A). */
  fitsPeer(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#peerWindowBytes
  }

  has(isIt: (chunk: C) => boolean): boolean {
    return this.#chunks.some(isIt)
  }

  /** What has to be sent again, in order. */
  *lost(): Generator<C> {
    if (this.#lostCount > 0) for (const chunk of this.#chunks) if (chunk.fate === 'lost') yield chunk
  }

  /** Takes the permission for one more chunk than the window allows, if there is one. */
  takeSpare(): boolean {
    if (this.#spareChunks === 0) return false
    this.#spareChunks -= 1
    return true
  }

  /** A chunk leaves, for the first time or again, in the packet of that number. */
  sent(chunk: C, packet: number, nowMs: number): void {
    if (chunk.sentCount === 0) {
      if (this.#chunks.length === 0) this.#arrivedAtMs = nowMs
      this.#chunks.push(chunk)
    } else this.#lostCount -= 1
    chunk.fate = 'flying'
    chunk.sentCount += 1
    chunk.packet = packet
    chunk.sentAtMs = nowMs
    this.#bytes += chunk.bookSize
    this.#lastPacket = packet
    this.#lastSentAtMs = nowMs
  }

  /** @returns false for an acknowledgement that is older than another, or speaks of what was never sent. */
  acknowledge({ cumulativeTsn, gaps, advertisedRwnd }: SackChunk, nowMs: number): boolean {
    const done = (cumulativeTsn - this.#cumulativeTsn) >>> 0
    if (done + (gaps.at(-1)?.[1] ?? 0) > this.#chunks.length) return false
    const wasFull = this.#bytes >= this.#window.bytes
    const arrived = this.#chunks.splice(0, done)
    for (const [first, last] of gaps) {
      for (let at = first - 1; at < last; at += 1) {
        const chunk = this.#chunks[at]!
        if (chunk.fate !== 'arrived') arrived.push(chunk)
      }
    }
    this.#cumulativeTsn = cumulativeTsn
    this.#peerWindowBytes = advertisedRwnd
    const bytes = this.#take(arrived, nowMs)
    if (bytes > 0) {
      this.#arrivedAtMs = nowMs
      this.#timeouts = 0
      if (wasFull && this.#newestArrived >= this.#reducedAtPacket) this.#window.grow(bytes)
    }
    // The first cannot have arrived, or it would not be the first: the peer has thrown it away (RFC 9260 section 6.2.1).
    const [first] = this.#chunks
    if (first?.fate === 'arrived') this.#giveUp(first)
    this.#detectLoss(nowMs)
    return true
  }

  /** When `expire` has to be called; later when something is sent or acknowledged before. */
  get deadlineMs(): number | undefined {
    if (this.#lossAtMs !== undefined) return this.#lossAtMs
    if (this.#bytes === 0) return undefined
    const oldest = this.#chunks.find(({ fate }) => fate === 'flying')
    // A receiver waits for a second packet before it acknowledges, unless it is told not to, as in every retransmission.
    const isLone = oldest?.packet === this.#lastPacket && oldest.sentCount === 1
    const waitMs = this.#roundTrip.timeoutMs + (isLone ? MAX_ACKNOWLEDGEMENT_DELAY_MS : 0)
    return this.#lastSentAtMs + Math.min(waitMs * 2 ** this.#timeouts, MAX_TIMEOUT_MS)
  }

  expire(nowMs: number): void {
    if (this.#lossAtMs !== undefined) {
      this.#detectLoss(nowMs)
      return
    }
    this.#timeouts += 1
    this.#spareChunks = PROBE_CHUNKS
    const isDead = this.#timeouts > 1 && nowMs - this.#arrivedAtMs >= COLLAPSE_MS
    if (isDead) this.#window.collapse()
    let asked = this.#lostCount
    for (let at = this.#chunks.length - 1; at >= 0 && (isDead || asked < PROBE_CHUNKS); at -= 1) {
      const chunk = this.#chunks[at]!
      if (chunk.fate !== 'flying') continue
      this.#giveUp(chunk)
      asked += 1
    }
  }

  #take(arrived: readonly C[], nowMs: number): number {
    let bytes = 0
    let newest: C | undefined
    for (const chunk of arrived) {
      if (chunk.fate === 'arrived') continue
      const sinceMs = chunk.sentCount > 1 ? nowMs - chunk.sentAtMs : Number.POSITIVE_INFINITY
      if (chunk.wasLost && (chunk.fate === 'lost' || sinceMs < this.#roundTrip.leastMs / 2)) this.#wasLate()
      if (chunk.fate === 'flying') this.#bytes -= chunk.bookSize
      else this.#lostCount -= 1
      chunk.fate = 'arrived'
      bytes += chunk.bookSize
      // What comes back faster than ever is what was sent before.
      if (sinceMs < this.#roundTrip.leastMs) continue
      if (newest === undefined || chunk.packet > newest.packet) newest = chunk
    }
    if (newest !== undefined) {
      this.#newestArrived = Math.max(this.#newestArrived, newest.packet)
      if (newest.sentCount === 1) this.#roundTrip.sample(nowMs - newest.sentAtMs)
    }
    return bytes
  }

  #detectLoss(nowMs: number): void {
    this.#lossAtMs = undefined
    const patience = this.#patience
    const lossMs = patience.ofMs(this.#roundTrip.recentMs)
    for (const chunk of this.#chunks) {
      if (chunk.packet >= this.#newestArrived) {
        // All that follow left later still.
        if (chunk.sentCount === 1) return
        continue
      }
      if (chunk.fate !== 'flying') continue
      const lostAtMs = chunk.sentAtMs + lossMs
      if (chunk.packet + patience.packets <= this.#newestArrived || lostAtMs <= nowMs) this.#lose(chunk)
      else this.#lossAtMs = Math.min(this.#lossAtMs ?? lostAtMs, lostAtMs)
    }
  }

  #lose(chunk: C): void {
    this.#giveUp(chunk)
    chunk.wasLost = true
    this.#lostSinceReduced += 1
    if (chunk.packet < this.#reducedAtPacket) return
    this.#window.reduce()
    this.#lostSinceReduced = 1
    this.#reducedAtPacket = this.#lastPacket + 1
    // The first one goes at once, whatever the smaller window says (RFC 9260 section 7.2.4).
    this.#spareChunks = Math.max(this.#spareChunks, 1)
  }

  /** A chunk that was taken for lost had only been overtaken. */
  #wasLate(): void {
    this.#patience.grow()
    this.#lostSinceReduced -= 1
    if (this.#lostSinceReduced > 0 || this.#reducedAtPacket === 0) return
    this.#window.restore()
    this.#reducedAtPacket = 0
  }

  #giveUp(chunk: C): void {
    if (chunk.fate === 'flying') this.#bytes -= chunk.bookSize
    chunk.fate = 'lost'
    chunk.wasLost = false
    this.#lostCount += 1
  }
}

/** What the flight keeps about a chunk; nobody else writes it. */
export interface FlightChunk {
  readonly bookSize: number
  fate: 'flying' | 'lost' | 'arrived'
  sentCount: number
  /** The last one it left in. */
  packet: number
  sentAtMs: number
  /** Because of what arrived, not because nothing did. */
  wasLost: boolean
}

/** RFC 9002 section 6.2.4: two, because one may be lost as well. */
const PROBE_CHUNKS = 2
/** RFC 9260 section 6.2; Chromium makes use of all of it. */
const MAX_ACKNOWLEDGEMENT_DELAY_MS = 200
/** As in Chromium: a path that works again is noticed within this time. */
const MAX_TIMEOUT_MS = 3000
/** RFC 9260 section 16: the least time after which its timer may say that a path is congested. */
const COLLAPSE_MS = 1000
