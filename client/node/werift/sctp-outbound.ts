import { randomBytes } from 'node:crypto'
import { DATA, FIRST_FRAGMENT, LAST_FRAGMENT, UNORDERED } from './sctp-packet.ts'
import type { PacketChunk } from './sctp-packet-writer.ts'
import type { OutboundChunk, SctpAssociation } from './werift-association.ts'

/**
 * The sending half of an SCTP association: what is sent next. werift keeps deciding how much may be in flight, and what was lost.
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

export class SctpOutbound {
  readonly #association: SctpAssociation
  readonly #streams: ReadonlyMap<number, OutboundStream>
  readonly #sendPacket: (chunks: readonly PacketChunk[]) => void
  #turn = 0

  constructor(
    association: SctpAssociation,
    streams: ReadonlyMap<number, OutboundStream>,
    sendPacket: (chunks: readonly PacketChunk[]) => void,
  ) {
    this.#association = association
    this.#streams = streams
    this.#sendPacket = sendPacket
  }

  /** Sends what the windows allow: first what was lost, then what is new. */
  transmit(): void {
    const association = this.#association
    if (association.isStopped) return
    const burst = MAX_BURST_PACKETS * association.maxPayloadSize
    const limit = Math.min(association.cwnd, association.flightSize + burst)
    this.#retransmit(limit)
    const packet = new PacketInTheMaking(association.mtu, this.#sendPacket)
    for (;;) {
      if (association.outboundQueue.length === 0 && !this.#fill()) break
      const chunk = association.outboundQueue[0]!
      const blocked = association.flightSize >= limit || association.peerRwnd === 0
      // A chunk larger than the peer's window may still go out alone, to probe it (RFC 9260 section 6.1 A).
      if (blocked || (chunk.bookSize > association.peerRwnd && association.flightSize > 0)) break
      association.outboundQueue.shift()
      association.sentQueue.push(chunk)
      association.flightSizeIncrease(chunk)
      chunk.sentCount = 1
      chunk.sentTime = Date.now() / 1000
      packet.add(chunk)
      this.#streams.get(chunk.streamId)?.handed(chunk.bookSize)
    }
    packet.flush()
    if (association.sentQueue.length > 0 && association.timer3Handle === undefined) association.timer3Start()
  }

  /** Whether every message of a stream has reached the peer. */
  isDrained(streamId: number): boolean {
    const { outboundQueue, sentQueue } = this.#association
    const ofStream = (chunk: OutboundChunk) => chunk.streamId === streamId
    return !outboundQueue.some(ofStream) && !sentQueue.some(ofStream)
  }

  #retransmit(limit: number): void {
    const association = this.#association
    const packet = new PacketInTheMaking(association.mtu, this.#sendPacket)
    association.sentQueue.every((chunk, index) => {
      if (!chunk.retransmit) return true
      if (association.fastRecoveryTransmit) association.fastRecoveryTransmit = false
      else if (association.flightSize >= limit) return false
      association.flightSizeIncrease(chunk)
      chunk.misses = 0
      chunk.retransmit = false
      chunk.sentCount += 1
      packet.add(chunk)
      if (index === 0) association.timer3Restart()
      return true
    })
    packet.flush()
  }

  /** Cuts the next message of the next channel into chunks. */
  #fill(): boolean {
    const association = this.#association
    let filled = false
    while (association.outboundQueue.length < MAX_CHUNKS_AHEAD) {
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
      association.outboundQueue.push(
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
 * Starts our numbers in the lower half of their range: werift's loss recovery stalls where they wrap, and from there that is
 * 2^31 packets, more than 2 TB, away.
 */
export function startSequence(association: SctpAssociation): void {
  const first = 1 + (randomBytes(4).readUInt32BE(0) >>> 1)
  association.localTsn = first
  association.reconfigRequestSeq = first
  association.lastSackedTsn = first - 1
  association.advancedPeerAckTsn = first - 1
}

/** Collects chunks until a packet is full. */
class PacketInTheMaking {
  readonly #maxBytes: number
  readonly #send: (chunks: readonly PacketChunk[]) => void
  #chunks: OutboundChunk[] = []
  #bytes = PACKET_HEADER_BYTES

  constructor(maxBytes: number, send: (chunks: readonly PacketChunk[]) => void) {
    this.#maxBytes = maxBytes
    this.#send = send
  }

  add(chunk: OutboundChunk): void {
    if (this.#bytes + chunk.byteLength > this.#maxBytes) this.flush()
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
  }

  flush(): void {
    if (this.#chunks.length > 0) this.#send(this.#chunks)
    this.#chunks = []
    this.#bytes = PACKET_HEADER_BYTES
  }
}

const DATA_HEADER_BYTES = 16

/** A DATA chunk in flight, in the shape werift's loss recovery works on. Its data is a part of the message, not a copy. */
class DataOut implements OutboundChunk {
  readonly type = DATA
  readonly flags: number
  readonly tsn: number
  readonly streamId: number
  readonly bookSize: number
  readonly byteLength: number
  retransmit = false
  acked = false
  abandoned = false
  misses = 0
  sentCount = 0
  sentTime: number | undefined
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
    this.flags = o.flags
    this.tsn = o.tsn
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
    packet[at + 1] = this.flags
    packet.writeUInt16BE(DATA_HEADER_BYTES + this.bookSize, at + 2)
    packet.writeUInt32BE(this.tsn, at + 4)
    packet.writeUInt16BE(this.streamId, at + 8)
    packet.writeUInt16BE(this.#streamSequence, at + 10)
    packet.writeUInt32BE(this.#protocol, at + 12)
    packet.set(this.#data, at + DATA_HEADER_BYTES)
  }
}
