import type { Clock, Timer } from '@mesh/core'
import { type InboundMessage, SctpInbound, SctpViolation, WINDOW_BYTES } from './sctp-inbound.ts'
import { type OutboundStream, SctpOutbound, startSequence } from './sctp-outbound.ts'
import {
  ABORT,
  type Chunk,
  COOKIE_ACK,
  COOKIE_ECHO,
  DATA,
  HEARTBEAT,
  IMMEDIATE,
  INIT,
  INIT_ACK,
  parseSctpPacket,
  RECONFIG,
  type ReconfigChunk,
  SACK,
  SHUTDOWN,
  SHUTDOWN_ACK,
  serializeChunk,
  serializeSack,
} from './sctp-packet.ts'
import { type PacketChunk, SctpPacketWriter, serializedChunk } from './sctp-packet-writer.ts'
import { ASSOCIATION_CLOSED, ASSOCIATION_ESTABLISHED, type SctpAssociation } from './werift-association.ts'
import type { DtlsTransport } from './werift-internals.ts'

/**
 * Everything a connected peer can say inside DTLS passes here before werift's SCTP association sees it.
 *
 * A peer has proved its certificate, nothing more, and werift lets it end the process or hang the event loop with one malformed
 * packet. So packets are parsed here, and each chunk is allowed only in the state and with the values that make sense:
 * - data goes to `SctpInbound`, and from there only to channels this side has opened (the SDK negotiates its channels, so the
 *   in-band opening protocol, DCEP, is ignored);
 * - acknowledgements may only speak of what was sent, and go to our own loss recovery;
 * - an association is set up once; a later INIT does not restart it;
 * - stream resets name known streams, in sequence; partial reliability is not offered and its chunks are ignored;
 * - what a correct peer never sends ends the association.
 */
export interface SctpGuardOptions {
  readonly association: SctpAssociation
  readonly transport: DtlsTransport
  readonly streams: ReadonlyMap<number, OutboundStream>
  readonly clock: Clock
  readonly crc32c: (data: Uint8Array) => number
  /** Sends one packet inside DTLS. Its bytes are written over by the next one. */
  readonly send: (packet: Buffer) => void
  readonly onMessage: (message: InboundMessage) => void
  /** An acknowledgement came: a closing channel may have drained. */
  readonly onProgress: () => void
  readonly log: (message: string, detail?: unknown) => void
}

export class SctpGuard {
  readonly #options: SctpGuardOptions
  readonly #association: SctpAssociation
  readonly #outbound: SctpOutbound
  readonly #writer: SctpPacketWriter
  #inbound: SctpInbound | undefined
  #unacknowledged = 0
  #sackTimer: Timer | undefined
  #sackIsUrgent = false
  #sackQueued = false
  #transmitQueued = false

  constructor(options: SctpGuardOptions) {
    const { association, transport } = options
    this.#options = options
    this.#association = association
    this.#writer = new SctpPacketWriter(options.crc32c)
    transport.dataReceiver = (packet) => this.#receive(packet)
    association.localPartialReliability = false
    association.rto = INITIAL_RTO_SECONDS
    startSequence(association)
    this.#outbound = new SctpOutbound({
      association,
      streams: options.streams,
      clock: options.clock,
      sendPacket: (chunks) => this.#sendPacket(chunks),
    })
    association.sendChunk = (chunk) => {
      this.#sendPacket([serializedChunk(chunk.bytes)])
      return Promise.resolve()
    }
  }

  /** A channel has something to send. What several channels say in one turn shares packets. */
  wake(): void {
    if (this.#transmitQueued || this.#association.associationState !== ASSOCIATION_ESTABLISHED) return
    this.#transmitQueued = true
    queueMicrotask(() => {
      this.#transmitQueued = false
      this.#outbound.transmit()
    })
  }

  isDrained(streamId: number): boolean {
    return this.#association.isStopped || this.#outbound.isDrained(streamId)
  }

  close(): void {
    this.#sackTimer?.cancel()
    this.#outbound.close()
  }

  #receive(packet: Buffer): void {
    const association = this.#association
    if (association.isStopped) return
    const parsed = parseSctpPacket(packet, this.#options.crc32c)
    if (parsed === undefined) return
    if (parsed.destinationPort !== association.localPort || parsed.sourcePort !== association.remotePort) return
    const isInit = parsed.chunks[0]?.type === INIT
    if (isInit && parsed.chunks.length > 1) return
    if (parsed.verificationTag !== (isInit ? 0 : association.localVerificationTag)) return
    try {
      for (const chunk of parsed.chunks) this.#receiveChunk(chunk)
    } catch (error) {
      if (!(error instanceof SctpViolation)) throw error
      this.#options.log('The peer broke the SCTP protocol', error)
      this.#run(association.stop())
      return
    }
    if (this.#unacknowledged > 0) this.#planSack()
  }

  #receiveChunk(chunk: Chunk): void {
    const association = this.#association
    const established = association.associationState === ASSOCIATION_ESTABLISHED
    switch (chunk.type) {
      case DATA:
        if (established) this.#receiveData(chunk)
        return
      case SACK:
        if (established && this.#outbound.acknowledge(chunk)) this.#options.onProgress()
        return
      case INIT:
      case INIT_ACK:
        if (established) return
        this.#run(association.receiveChunk(chunk))
        this.#outbound.peerWindowBytes = chunk.advertisedRwnd
        // werift counts back from the peer's first number with a signed remainder: from 0 to -1, which it cannot send.
        association.reconfigResponseSeq >>>= 0
        return
      case COOKIE_ECHO:
        // Once more when our acknowledgement was lost; the association itself must not be set up again.
        if (established) this.#sendPacket([serializedChunk(serializeChunk(COOKIE_ACK, 0, Buffer.alloc(0)))])
        else this.#run(association.receiveChunk(chunk))
        return
      case COOKIE_ACK:
        this.#run(association.receiveChunk(chunk))
        return
      case HEARTBEAT:
        this.#sendPacket([serializedChunk(serializeChunk(HEARTBEAT_ACK, 0, chunk.body))])
        return
      case RECONFIG:
        if (established) this.#receiveReconfig(chunk)
        return
      case ABORT:
      case SHUTDOWN:
      case SHUTDOWN_ACK:
        // WebRTC closes without the shutdown exchange; whoever begins one is gone.
        association.setState(ASSOCIATION_CLOSED)
    }
  }

  #receiveData(chunk: Extract<Chunk, { type: typeof DATA }>): void {
    const association = this.#association
    if (association.lastReceivedTsn === undefined) return
    this.#inbound ??= new SctpInbound(
      association.lastReceivedTsn,
      (message) => this.#options.onMessage(message),
      (streamId) => this.#options.streams.get(streamId)?.ordered === true,
    )
    const hadGaps = this.#inbound.hasGaps
    const isNew = this.#inbound.receive(chunk)
    this.#unacknowledged += 1
    // What came twice was acknowledged once, and that was lost.
    this.#sackIsUrgent ||= !isNew || hadGaps || this.#inbound.hasGaps || (chunk.flags & IMMEDIATE) !== 0
  }

  /** werift reads its place in the peer's numbers from here when it asks for a stream reset. */
  #cumulativeTsn(): number {
    const tsn = this.#inbound?.cumulativeTsn ?? (this.#association.lastReceivedTsn ?? 0) >>> 0
    this.#association.lastReceivedTsn = tsn
    return tsn
  }

  /**
   * While something is missing, and when it comes, each packet at once (RFC 9260 section 6.7): a sender that goes by the RFC, as
   * Chromium does, counts three acknowledgements before it sends again. Otherwise two packets at the end of this turn of the
   * event loop, a lone one a little later.
   */
  #planSack(): void {
    if (this.#sackIsUrgent || this.#unacknowledged >= SACK_EVERY_CHUNKS) {
      this.#sendSack()
    } else if (this.#unacknowledged >= 2) {
      if (this.#sackQueued) return
      this.#sackQueued = true
      setImmediate(() => {
        this.#sackQueued = false
        this.#sendSack()
      })
    } else this.#sackTimer ??= this.#options.clock.schedule(SACK_DELAY_MS, () => this.#sendSack())
  }

  #sendSack(): void {
    this.#sackTimer?.cancel()
    this.#sackTimer = undefined
    if (this.#unacknowledged === 0 || this.#association.isStopped) return
    this.#unacknowledged = 0
    this.#sackIsUrgent = false
    const windowBytes = this.#inbound?.windowBytes ?? WINDOW_BYTES
    const gaps = this.#inbound?.gaps() ?? []
    this.#sendPacket([serializedChunk(serializeSack(this.#cumulativeTsn(), windowBytes, gaps))])
  }

  /** Stream resets (RFC 6525): how the other side closes a channel. */
  #receiveReconfig(chunk: ReconfigChunk): void {
    for (const [type, value] of chunk.params) {
      if (type === OUTGOING_RESET_REQUEST && value.length >= 12 && value.length % 2 === 0) this.#receiveReset(value)
      else if (type === RECONFIG_RESPONSE && value.length >= 8) {
        const response = { type, responseSequence: value.readUInt32BE(0), result: value.readUInt32BE(4) }
        this.#run(this.#association.receiveReconfigParam(response))
      }
    }
  }

  #receiveReset(value: Buffer): void {
    const association = this.#association
    const requestSequence = value.readUInt32BE(0)
    const expected = ((association.reconfigResponseSeq >>> 0) + 1) >>> 0
    const lastTsn = value.readUInt32BE(8)
    if (requestSequence !== expected) {
      // The one before: our response was lost. Any other: not ours to answer.
      if ((requestSequence + 1) >>> 0 === expected) this.#respondToReset(requestSequence, RESET_PERFORMED)
      return
    }
    if ((lastTsn - this.#cumulativeTsn()) << 0 > 0) {
      // Data of the stream is still on its way; the peer asks again.
      this.#respondToReset(requestSequence, RESET_IN_PROGRESS)
      return
    }
    const named = Array.from({ length: (value.length - 12) / 2 }, (_, index) => value.readUInt16BE(12 + 2 * index))
    const streams = [...new Set(named)].filter((id) => this.#options.streams.has(id))
    // Both directions close together (RFC 8831 section 6.7); werift forgets ours when nothing was ever sent on it.
    for (const id of streams) if (!association.reconfigQueue.includes(id)) association.reconfigQueue.push(id)
    this.#run(association.receiveReconfigParam({ type: OUTGOING_RESET_REQUEST, requestSequence, lastTsn, streams }))
  }

  #respondToReset(requestSequence: number, result: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeUInt32BE(requestSequence, 0)
    bytes.writeUInt32BE(result, 4)
    this.#run(this.#association.sendReconfigParam({ type: RECONFIG_RESPONSE, bytes }))
  }

  #sendPacket(chunks: readonly PacketChunk[]): void {
    const { localPort, remotePort, remoteVerificationTag } = this.#association
    const route = {
      sourcePort: localPort,
      destinationPort: remotePort ?? localPort,
      verificationTag: remoteVerificationTag,
    }
    this.#options.send(this.#writer.write(route, chunks))
  }

  /** werift's reactions are asynchronous and may throw; nobody else would hear of it but the process. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.log('werift failed on an SCTP chunk', error))
  }
}

const HEARTBEAT_ACK = 5
const OUTGOING_RESET_REQUEST = 13
const RECONFIG_RESPONSE = 16
const RESET_PERFORMED = 1
const RESET_IN_PROGRESS = 6
/** RFC 9260 section 16. werift starts with 3 s, which a single lost packet adds to every connection. */
const INITIAL_RTO_SECONDS = 1
/** RFC 9260 section 6.2 allows 200 ms and asks for one per two packets; a turn of the event loop may bring more. */
const SACK_EVERY_CHUNKS = 16
const SACK_DELAY_MS = 20
