import { create } from '@bufbuild/protobuf'
import { type Frame, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { LinkEffects, LinkStats } from './link-effects.ts'
import type { PathState } from './path-state.ts'
import type { Receiving } from './receiving.ts'
import type { Sending } from './sending.ts'

// Makes packets at the end of a turn: frames as long as the path takes them and the window has room, then pings and
// Pongs that found no such packet, then an acknowledgement if one is due and nothing has carried it.

export interface PacketPumpOptions {
  readonly sending: Sending
  readonly receiving: Receiving
  readonly effects: Pick<LinkEffects, 'transmit' | 'transmitDatagram'>
}

export class PacketPump {
  readonly #options: PacketPumpOptions
  #running = false
  #packetsSent = 0
  #framesSent = 0
  #datagramsSent = 0
  #datagramsDropped = 0

  constructor(options: PacketPumpOptions) {
    this.#options = options
  }

  get stats(): Pick<LinkStats, 'packetsSent' | 'framesSent' | 'datagramsSent' | 'datagramsDropped'> {
    return {
      packetsSent: this.#packetsSent,
      framesSent: this.#framesSent,
      datagramsSent: this.#datagramsSent,
      datagramsDropped: this.#datagramsDropped,
    }
  }

  /**
   * Sends what is due, on the path that `active` gives, asked before every packet: sending one may change it.
   * `all` are the paths whose pings are to be sent. Does nothing within itself.
   */
  run(active: () => PathState | undefined, all: readonly PathState[], nowMs: number): void {
    if (this.#running) return
    this.#running = true
    this.#sendFrames(active, nowMs)
    // Pings and Pongs have to go by the path they are about, used or not, full or not.
    for (const path of all) {
      const frames = this.#options.sending.pingFrames(path)
      if (frames.length > 0) this.send(path, frames, path === active())
    }
    const { dueMs } = this.#options.receiving.acknowledger
    const path = active()
    if (path !== undefined && !path.blocked && dueMs !== undefined && dueMs <= nowMs) this.send(path, [], true)
    this.#running = false
  }

  /** Sends one packet. `active`: by the path in use, which settles the acknowledgement; another one may not carry it. */
  send(path: PathState, frames: Frame[], active: boolean): void {
    const { receiving, effects } = this.#options
    this.#packetsSent += 1
    this.#framesSent += frames.length
    const body = create(PacketBodySchema, {
      ack: BigInt(receiving.window.inOrder),
      ranges: receiving.window.ranges(),
      frames,
    })
    if (active) receiving.acknowledger.sent()
    if (!effects.transmit(path.name, body)) path.blocked = true
  }

  /** Sends a datagram by the path, now or never. False: dropped. It settles no acknowledgement, because it may get lost. */
  sendDatagram(path: PathState | undefined, frame: Frame): boolean {
    const { receiving, effects } = this.#options
    // Without ranges, of which sixteen would make it too large for one packet of the network.
    const body = create(PacketBodySchema, { ack: BigInt(receiving.window.inOrder), frames: [frame] })
    const sent = path !== undefined && effects.transmitDatagram(path.name, body)
    if (sent) this.#datagramsSent += 1
    else this.#datagramsDropped += 1
    return sent
  }

  #sendFrames(active: () => PathState | undefined, nowMs: number): void {
    for (let path = active(); path !== undefined && !path.blocked; path = active()) {
      const frames = this.#options.sending.nextFrames(path, nowMs)
      if (frames.length === 0) return
      this.send(path, frames, true)
    }
  }
}
