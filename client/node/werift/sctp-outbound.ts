import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '@mesh/core'
import { Flight, type FlightChunk } from './sctp-flight.ts'
import { DATA, FIRST_FRAGMENT, IMMEDIATE, LAST_FRAGMENT, type SackChunk, UNORDERED } from './sctp-packet.ts'
import type { PacketChunk } from './sctp-packet-writer.ts'
import type { SctpAssociation } from './werift-association.ts'

/**
 * The sending half of an SCTP association: what is sent next. How much may be in flight, and what was lost, is in `sctp-flight.ts`.
 *
 * werift gives every message a waiter that is woken at every flush (quadratic in the number of waiting messages), serialises a
 * chunk through half a dozen copies, sends one chunk per packet, and serves channels first come, first served. Here channels
 * are asked in turn for their next message, only as much is taken from them as is about to be sent, and small chunks share a
 * packet.
 */

/** What the association asks of a data channel. */
export interface OutboundStream {
  readonly id: number
  readonly ordered: boolean
  /** Removes the next message from the channel's queue. */
  takeMessage(): OutboundMessage | undefined
  /** `bytes` of the messages taken have been handed to the network. */
  handed(bytes: number): void
}

export interface OutboundMessage {
  readonly protocol: number
  readonly data: Buffer
}

/** Chunks made ahead of the congestion window: 64 × 1.1 KB, about one message of the maximum size. */
const MAX_CHUNKS_AHEAD = 64

/**
 * At most this many packets per acknowledgement (RFC 9260 section 6.1 E asks for some bound and suggests 4, for receivers that
 * acknowledge every second packet; ours may acknowledge sixteen at once, and double that lets the window grow).
 */
const MAX_BURST_PACKETS = 32

const PACKET_HEADER_BYTES = 12

export interface SctpOutboundOptions {
  readonly association: SctpAssociation
  readonly streams: ReadonlyMap<number, OutboundStream>
  readonly clock: Clock
  readonly sendPacket: (chunks: readonly PacketChunk[]) => void
}

export class SctpOutbound {
  readonly #association: SctpAssociation
  readonly #streams: ReadonlyMap<number, OutboundStream>
  readonly #clock: Clock
  readonly #flight: Flight<DataOut>
  readonly #packet: PacketInTheMaking
  /** Cut, and not sent yet. */
  readonly #ahead: DataOut[] = []
  #turn = 0
  #timer: Timer | undefined
  #timerAtMs = 0

  constructor({ association, streams, clock, sendPacket }: SctpOutboundOptions) {
    this.#association = association
    this.#streams = streams
    this.#clock = clock
    this.#flight = new Flight((association.localTsn - 1) >>> 0, association.maxPayloadSize)
    this.#packet = new PacketInTheMaking(association.mtu, sendPacket)
  }

  /** What is left of the other side's receive window, before anything was sent. */
  set peerWindowBytes(bytes: number) {
    this.#flight.peerWindowBytes = bytes
  }

  /**
   * Takes an acknowledgement, and sends what it makes room for.
   * @returns false when it is older than another, or speaks of what was never sent.
   */
  acknowledge(chunk: SackChunk): boolean {
    if (!this.#flight.acknowledge(chunk, this.#clock.monotonicMs())) return false
    // For what werift sends itself, the stream resets.
    this.#association.rto = Math.max(this.#flight.timeoutMs, MIN_RESET_TIMEOUT_MS) / 1000
    this.transmit()
    return true
  }

  /** Sends what the windows allow: first what was lost, then what is new. */
  transmit(): void {
    const association = this.#association
    if (association.isStopped) return
    const nowMs = this.#clock.monotonicMs()
    const flight = this.#flight
    const limit = Math.min(flight.windowBytes, flight.bytes + MAX_BURST_PACKETS * association.maxPayloadSize)
    for (const chunk of flight.lost()) {
      if (flight.bytes >= limit && !flight.takeSpare()) break
      flight.sent(chunk, this.#packet.add(chunk), nowMs)
    }
    while (flight.bytes < limit && (this.#ahead.length > 0 || this.#fill())) {
      const chunk = this.#ahead[0]!
      if (!flight.fitsPeer(chunk.bookSize)) break
      this.#ahead.shift()
      flight.sent(chunk, this.#packet.add(chunk), nowMs)
      this.#streams.get(chunk.streamId)?.handed(chunk.bookSize)
    }
    this.#packet.flush()
    this.#arm(nowMs)
  }

  /** Whether every message of a stream has reached the peer. */
  isDrained(streamId: number): boolean {
    const ofStream = (chunk: DataOut) => chunk.streamId === streamId
    return !this.#ahead.some(ofStream) && !this.#flight.has(ofStream)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** One that rings too early is left alone and looks again: the deadline moves with every packet. */
  #arm(nowMs: number): void {
    const atMs = this.#flight.deadlineMs
    if (atMs === undefined || (this.#timer !== undefined && this.#timerAtMs <= atMs)) return
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    this.#timer = this.#clock.schedule(atMs - nowMs, () => this.#ring())
  }

  #ring(): void {
    this.#timer = undefined
    if (this.#association.isStopped) return
    const nowMs = this.#clock.monotonicMs()
    const atMs = this.#flight.deadlineMs
    if (atMs === undefined || atMs > nowMs) return this.#arm(nowMs)
    this.#flight.expire(nowMs)
    this.transmit()
  }

  /** Cuts the next message of the next channel into chunks. */
  #fill(): boolean {
    let filled = false
    while (this.#ahead.length < MAX_CHUNKS_AHEAD) {
      const taken = this.#takeInTurn()
      if (taken === undefined) return filled
      this.#cut(taken.stream, taken.message)
      filled = true
    }
    return filled
  }

  #takeInTurn(): { stream: OutboundStream; message: OutboundMessage } | undefined {
    const streams = [...this.#streams.values()]
    for (let step = 0; step < streams.length; step += 1) {
      const place = (this.#turn + step) % streams.length
      const stream = streams[place]!
      const message = stream.takeMessage()
      if (message === undefined) continue
      this.#turn = place + 1
      return { stream, message }
    }
    return undefined
  }

  #cut({ id: streamId, ordered }: OutboundStream, { protocol, data }: OutboundMessage): void {
    const association = this.#association
    const order = ordered ? 0 : UNORDERED
    const streamSequence = association.outboundStreamSeq[streamId] ?? 0
    for (let at = 0; at < data.length; at += association.maxPayloadSize) {
      const part = data.subarray(at, at + association.maxPayloadSize)
      const place = (at === 0 ? FIRST_FRAGMENT : 0) | (at + part.length === data.length ? LAST_FRAGMENT : 0)
      this.#ahead.push(
        new DataOut({
          flags: order | place,
          tsn: association.localTsn,
          streamId,
          streamSequence,
          protocol,
          data: part,
        }),
      )
      association.localTsn = (association.localTsn + 1) >>> 0
    }
    // Messages without order have no place in the sequence (RFC 9260 section 6.6).
    if (ordered) association.outboundStreamSeq[streamId] = (streamSequence + 1) & 0xffff
  }
}

/**
 * Starts our numbers in the lower half of their range: werift counts back from them with a signed remainder when it resets a stream,
 * and cannot send what comes before 0. From there that is 2^31 packets, more than 2 TB, away.
 */
export function startSequence(association: SctpAssociation): void {
  const first = 1 + (randomBytes(4).readUInt32BE(0) >>> 1)
  association.localTsn = first
  association.reconfigRequestSeq = first
}

/** Collects chunks until a packet is full, and numbers the packets. */
class PacketInTheMaking {
  readonly #maxBytes: number
  readonly #send: (chunks: readonly PacketChunk[]) => void
  #chunks: PacketChunk[] = []
  #bytes = PACKET_HEADER_BYTES
  #number = 1

  constructor(maxBytes: number, send: (chunks: readonly PacketChunk[]) => void) {
    this.#maxBytes = maxBytes
    this.#send = send
  }

  /** The number of the packet the chunk leaves in. */
  add(chunk: PacketChunk): number {
    if (this.#bytes + chunk.byteLength > this.#maxBytes) this.flush()
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    return this.#number
  }

  flush(): void {
    if (this.#chunks.length === 0) return
    const chunks = this.#chunks
    this.#chunks = []
    this.#bytes = PACKET_HEADER_BYTES
    this.#number += 1
    this.#send(chunks)
  }
}

const DATA_HEADER_BYTES = 16
/** As in Chromium. */
const MIN_RESET_TIMEOUT_MS = 400

/** A DATA chunk. Its data is a part of the message, not a copy. */
class DataOut implements FlightChunk, PacketChunk {
  readonly streamId: number
  readonly bookSize: number
  readonly byteLength: number
  fate: FlightChunk['fate'] = 'flying'
  sentCount = 0
  packet = 0
  sentAtMs = 0
  wasLost = false
  readonly #flags: number
  readonly #tsn: number
  readonly #streamSequence: number
  readonly #protocol: number
  readonly #data: Buffer

  constructor(o: {
    flags: number
    tsn: number
    streamId: number
    streamSequence: number
    protocol: number
    data: Buffer
  }) {
    this.#flags = o.flags
    this.#tsn = o.tsn
    this.streamId = o.streamId
    this.#streamSequence = o.streamSequence
    this.#protocol = o.protocol
    this.#data = o.data
    this.bookSize = o.data.length
    this.byteLength = (DATA_HEADER_BYTES + o.data.length + 3) & ~3
  }

  writeTo(packet: Buffer, at: number): void {
    // First, because the data overwrites what is not padding.
    packet.writeUInt32BE(0, at + this.byteLength - 4)
    packet[at] = DATA
    // What was lost before is acknowledged at once (RFC 9260 section 6.2).
    packet[at + 1] = this.sentCount > 1 ? this.#flags | IMMEDIATE : this.#flags
    packet.writeUInt16BE(DATA_HEADER_BYTES + this.bookSize, at + 2)
    packet.writeUInt32BE(this.#tsn, at + 4)
    packet.writeUInt16BE(this.streamId, at + 8)
    packet.writeUInt16BE(this.#streamSequence, at + 10)
    packet.writeUInt32BE(this.#protocol, at + 12)
    packet.set(this.#data, at + DATA_HEADER_BYTES)
  }
}
