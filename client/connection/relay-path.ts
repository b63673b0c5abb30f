import { type Clock, type MeshError, type Timer, TokenBucket } from '@mesh/core'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { encodeRelayed } from './packet-codec.ts'

/**
 * The relay path of one link: packets through the signaling server. What is ready in one turn travels in one envelope, and
 * envelopes keep to four fifths of the server's rate for a pair, so that the other side's acknowledgements and a second
 * device have room and nothing is refused.
 */
export interface RelayPathOptions {
  readonly clock: Clock
  readonly limits: SessionLimits | undefined
  /** Sends one payload to the peer. */
  readonly send: (payload: Uint8Array) => Promise<unknown>
  /** The path can take more. */
  readonly onReady: () => void
  /** An envelope did not get through; the link sends its packets again. */
  readonly onFailure: (error: MeshError) => void
}

/** Packets and their framing in one envelope: three of the largest, well within 64 KiB. */
const MAX_BATCH_BYTES = 48 * 1024
/** Number, tags and lengths of one packet in RelayedPackets. */
const PACKET_OVERHEAD_BYTES = 20
/** 4 envelopes: what is beyond waits in the link, where it can still change path. */
const MAX_QUEUED_BYTES = 4 * MAX_BATCH_BYTES
const MAX_IN_FLIGHT = 4
const RATE_SHARE = 0.8

export class RelayPath {
  readonly #options: RelayPathOptions
  readonly #bucket: TokenBucket | undefined
  #queue: { connectionId: Uint8Array; packet: Packet }[] = []
  #queuedBytes = 0
  #inFlight = 0
  #full = false
  #timer: Timer | undefined
  #flushing = false
  #closed = false
  #drained: (() => void)[] = []

  constructor(options: RelayPathOptions) {
    this.#options = options
    const { limits, clock } = options
    if (limits?.pairMessagesPerSecond) {
      this.#bucket = new TokenBucket({
        perSecond: Math.max(1, limits.pairMessagesPerSecond * RATE_SHARE),
        burst: Math.max(1, Math.floor(limits.pairMessagesBurst * RATE_SHARE)),
        clock,
      })
    }
  }

  /** True while nothing more should be given; `onReady` ends it. */
  get full(): boolean {
    return this.#full
  }

  push(connectionId: Uint8Array, packet: Packet): void {
    if (this.#closed) return
    this.#queue.push({ connectionId, packet })
    this.#queuedBytes += packetBytes(packet)
    if (this.#queuedBytes >= MAX_QUEUED_BYTES) this.#full = true
    if (this.#flushing) return
    this.#flushing = true
    // Sealing finishes packet by packet; a turn later the others of the same burst are here too.
    this.#timer = this.#options.clock.schedule(0, () => this.#flush())
  }

  /** Resolves when everything pushed so far has been answered by the server, or refused. */
  flushed(): Promise<void> {
    if (this.#queue.length === 0 && this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  /** Drops what is queued, and whatever is pushed later. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#queue = []
    this.#queuedBytes = 0
  }

  #flush(): void {
    this.#flushing = false
    while (this.#queue.length > 0 && this.#inFlight < MAX_IN_FLIGHT) {
      if (this.#bucket && !this.#bucket.take()) {
        this.#flushing = true
        this.#timer = this.#options.clock.schedule(Math.max(1, this.#bucket.msUntil()), () => this.#flush())
        return
      }
      this.#sendBatch()
    }
    if (this.#full && this.#queuedBytes < MAX_QUEUED_BYTES / 2) {
      this.#full = false
      this.#options.onReady()
    }
  }

  #sendBatch(): void {
    const connectionId = (this.#queue[0] as { connectionId: Uint8Array }).connectionId
    const packets: Packet[] = []
    let bytes = 0
    for (const entry of this.#queue) {
      const size = packetBytes(entry.packet)
      if (entry.connectionId !== connectionId || (packets.length > 0 && bytes + size > MAX_BATCH_BYTES)) break
      packets.push(entry.packet)
      bytes += size
    }
    this.#queue.splice(0, packets.length)
    this.#queuedBytes -= bytes
    this.#inFlight++
    this.#options
      .send(encodeRelayed(connectionId, packets))
      .catch((error: MeshError) => this.#options.onFailure(error))
      .finally(() => {
        this.#inFlight--
        if (!this.#flushing && !this.#closed) this.#flush()
        if (this.#queue.length > 0 || this.#inFlight > 0) return
        for (const resolve of this.#drained.splice(0)) resolve()
      })
  }
}

function packetBytes({ sealed }: Packet): number {
  return sealed.length + PACKET_OVERHEAD_BYTES
}
