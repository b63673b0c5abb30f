import { type Clock, ErrorReason, type LinkKeys, MeshError } from '@mesh/core'
import type { PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { Link, type LinkEffects, type PathName } from '../link/index.ts'
import { type Generation, Generations } from './generations.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { BodySealer, decodePacket, encodePacket } from './packet-codec.ts'
import { RelayPath } from './relay-path.ts'
import type { RtcDataChannel } from './rtc.ts'

/** A link with its keys and its two paths: seals what the link sends, opens what the paths bring. */
export interface OpenLinkOptions {
  readonly clock: Clock
  readonly role: 'lower' | 'higher'
  readonly keys: LinkKeys
  readonly connectionId: Uint8Array
  readonly limits: SessionLimits | undefined
  readonly sendRelay: (payload: Uint8Array) => Promise<unknown>
  readonly onRelayFailure: (error: MeshError) => void
  readonly effects: Pick<LinkEffects, 'control' | 'channel' | 'closed'> & {
    /** Another path carries the link, or none; or the other side fell silent, or is heard again. */
    pathChanged(path: PathName | undefined): void
    directDead(error: MeshError): void
  }
}

export interface PacketCounts {
  sent: number
  received: number
  /** Packets that came twice, or too late. */
  replayed: number
  /** Packets that no key opened. */
  rejected: number
}

/** 1,024 packets of 16 KiB: more than any window, so only a flood meets it. */
const MAX_PENDING_PACKETS = 1_024
/** 16 packets in the data channel's own queue keep it busy through a busy event loop; fairness is decided before. */
const DIRECT_HIGH_BYTES = 256 * 1024
const DIRECT_LOW_BYTES = 64 * 1024
/** 16 of the largest, a few milliseconds: one that would wait for longer is better dropped. */
const DATAGRAMS_HIGH_BYTES = 16 * 1024
/** As many may be about to be sealed, where that takes a while: the channel does not count them yet. */
const MAX_DATAGRAMS_SEALING = 16

export class OpenLink {
  readonly link: Link
  readonly counts: PacketCounts = { sent: 0, received: 0, replayed: 0, rejected: 0 }
  readonly #options: OpenLinkOptions
  readonly #relay: RelayPath
  readonly #keys: Generations
  readonly #sealer = new BodySealer()
  readonly #inbound: OrderedQueue
  readonly #outbound: Record<PathName | 'datagrams', OrderedQueue>
  /** Unix time at which a packet of the other side opened last. */
  heardAtMs: number | undefined
  #channel: RtcDataChannel | undefined
  #datagrams: RtcDataChannel | undefined
  #sealingBytes = 0
  #directFull = false

  constructor(options: OpenLinkOptions) {
    const { clock, role, connectionId, keys, limits, effects } = options
    this.#options = options
    this.#keys = new Generations({ connectionId, keys })
    const reject = (error: MeshError) => this.#reject(error)
    this.#inbound = new OrderedQueue(MAX_PENDING_PACKETS, reject)
    this.#outbound = {
      relay: new OrderedQueue(MAX_PENDING_PACKETS, reject),
      direct: new OrderedQueue(MAX_PENDING_PACKETS, reject),
      datagrams: new OrderedQueue(MAX_PENDING_PACKETS, reject),
    }
    this.link = new Link({
      clock,
      role,
      effects: {
        transmit: (path, body) => (path === 'relay' ? this.#transmitRelay(body) : this.#transmitDirect(body)),
        transmitDatagram: (path, body) => {
          return path === 'relay' ? this.#relayDatagram(body) : this.#directDatagram(body)
        },
        control: (frame) => effects.control(frame),
        channel: (channel) => effects.channel(channel),
        pathChanged: (path) => effects.pathChanged(path),
        silenceChanged: () => effects.pathChanged(this.link.path),
        pathDead: (_path, error) => {
          this.dropChannel()
          effects.directDead(error)
        },
        closed: (error, report) => effects.closed(error, report),
      },
    })
    this.#relay = new RelayPath({
      clock,
      limits,
      send: options.sendRelay,
      onReady: () => this.link.pathReady('relay'),
      onFailure: options.onRelayFailure,
    })
  }

  get connectionId(): Uint8Array {
    return this.#keys.sending.connectionId
  }

  /** How many packets were sealed under the current keys. */
  get sealed(): bigint {
    return this.#keys.sending.keys.send.sent
  }

  /** True when packets of this connection belong to the link. */
  knows(connectionId: Uint8Array): boolean {
    return this.#keys.of(connectionId) !== undefined
  }

  /** See Generations.rekey. */
  rekey(next: Generation, replaced: Uint8Array | undefined): void {
    this.#keys.rekey(next, replaced)
  }

  /** Packets that came through the server. */
  receiveRelayed(connectionId: Uint8Array, packets: readonly Packet[]): void {
    const generation = this.#keys.of(connectionId)
    if (generation) for (const packet of packets) this.#open('relay', packet, generation)
  }

  /** An open data channel becomes the direct path once a frame has crossed it each way. Datagrams take the one beside it. */
  useChannel(channel: RtcDataChannel, datagrams: RtcDataChannel): void {
    this.#channel = channel
    this.#datagrams = datagrams
    datagrams.addEventListener('message', ({ data }) => {
      if (this.#datagrams === datagrams) this.#receiveDirect(data)
    })
    channel.bufferedAmountLowThreshold = DIRECT_LOW_BYTES
    channel.addEventListener('bufferedamountlow', () => this.#directReady())
    channel.addEventListener('message', ({ data }) => {
      if (this.#channel === channel) this.#receiveDirect(data)
    })
    this.link.ping('direct').then(
      () => {
        if (this.#channel === channel) this.link.setPath('direct', { usable: true })
      },
      (error: MeshError) => {
        if (this.#channel !== channel) return
        this.dropChannel()
        this.#options.effects.directDead(error)
      },
    )
  }

  dropChannel(): void {
    this.#channel = undefined
    this.#datagrams = undefined
    this.#directFull = false
    this.link.setPath('direct', { usable: false })
  }

  /** Says goodbye on every usable path. */
  close(error: MeshError): void {
    this.link.close(error)
  }

  /** After the link closed: lets its last packets leave, within 250 ms, and then holds nothing any more. */
  async finish(): Promise<void> {
    const grace = Promise.withResolvers<void>()
    const timer = this.#options.clock.schedule(GOODBYE_GRACE_MS, grace.resolve, { keepAlive: true })
    await Promise.race([this.#flushed(), grace.promise])
    timer.cancel()
    this.#relay.close()
  }

  async #flushed(): Promise<void> {
    const channel = this.#channel
    await Promise.all([this.#outbound.relay.idle, this.#outbound.direct.idle])
    await this.#relay.flushed()
    if (channel?.readyState !== 'open' || channel.bufferedAmount === 0) return
    await new Promise<void>((resolve) => {
      channel.bufferedAmountLowThreshold = 0
      channel.addEventListener('bufferedamountlow', resolve)
      channel.addEventListener('close', resolve)
    })
  }

  #transmitRelay(body: PacketBody): boolean {
    const { connectionId, keys } = this.#keys.sending
    this.counts.sent++
    this.#outbound.relay.settle(
      () => this.#sealer.seal(keys, body),
      (packet) => this.#relay.push(connectionId, packet),
    )
    return !this.#relay.full
  }

  #transmitDirect(body: PacketBody): boolean {
    const channel = this.#channel
    if (!channel) return true
    this.counts.sent++
    const size = bodySize(body)
    this.#sealingBytes += size
    this.#outbound.direct.settle(
      () => this.#sealer.seal(this.#keys.sending.keys, body),
      (packet) => {
        if (channel.readyState === 'open') sendOwned(channel, encodePacket(packet))
        else this.#channelEnded(channel)
      },
      () => {
        this.#sealingBytes -= size
        this.#directReady()
      },
    )
    this.#directFull = this.#sealingBytes + channel.bufferedAmount >= DIRECT_HIGH_BYTES
    return !this.#directFull
  }

  /** It takes its packets with it, and may have ended without a word. The link sends them again on the next path. */
  #channelEnded(channel: RtcDataChannel): void {
    if (this.#channel !== channel) return
    this.dropChannel()
    this.#options.effects.directDead(
      new MeshError(ErrorReason.ICE_FAILED, 'the data channel is closed', { retryable: true }),
    )
  }

  #relayDatagram(body: PacketBody): boolean {
    if (this.#relay.full) return false
    this.#transmitRelay(body)
    return true
  }

  #directDatagram(body: PacketBody): boolean {
    const channel = this.#datagrams
    if (channel?.readyState !== 'open' || channel.bufferedAmount >= DATAGRAMS_HIGH_BYTES) return false
    if (this.#outbound.datagrams.pending >= MAX_DATAGRAMS_SEALING) return false
    this.counts.sent++
    this.#outbound.datagrams.settle(
      () => this.#sealer.seal(this.#keys.sending.keys, body),
      (packet) => {
        if (channel.readyState === 'open') sendOwned(channel, encodePacket(packet))
      },
    )
    return true
  }

  #directReady(): void {
    const channel = this.#channel
    if (!this.#directFull || !channel || this.#sealingBytes + channel.bufferedAmount > DIRECT_LOW_BYTES) return
    this.#directFull = false
    this.link.pathReady('direct')
  }

  #receiveDirect(data: unknown): void {
    if (!(data instanceof ArrayBuffer) && !(data instanceof Uint8Array)) return
    try {
      this.#open('direct', decodePacket(data instanceof ArrayBuffer ? new Uint8Array(data) : data))
    } catch (error) {
      this.#reject(MeshError.from(error))
    }
  }

  #open(path: PathName, packet: Packet, only?: Generation): void {
    this.#inbound.settle(
      () => this.#keys.open(packet, only),
      ({ body, generation }) => {
        this.counts.received++
        this.heardAtMs = this.#options.clock.wallMs()
        this.#keys.opened(generation)
        this.link.receive(path, body)
      },
    )
  }

  #reject(error: MeshError): void {
    if (error.reason === ErrorReason.LINK_REPLAY) this.counts.replayed++
    else this.counts.rejected++
  }
}

/** One round trip through a server far away; who is not reached by then hears it from the directory. */
const GOODBYE_GRACE_MS = 250

function sendOwned(channel: RtcDataChannel, bytes: Uint8Array): void {
  if (channel.sendOwned) channel.sendOwned(bytes)
  else channel.send(bytes)
}

/** Bytes of application data, which is what fills a path; the rest is small. */
function bodySize(body: PacketBody): number {
  let bytes = 64
  for (const { body: frame } of body.frames) if (frame.case === 'data') bytes += frame.value.data.length
  return bytes
}
