import { type Channel, join, type Peer, type Swarm } from '@mesh/client'
import type { BulkMeter } from './bulk-meter.ts'
import { WRITE_BYTES } from './transfer.ts'

export interface MeshBulkOptions {
  readonly origin: string
  /** Public key of the party, 32 bytes. */
  readonly party: readonly number[]
}

/** One side of a bulk transfer over a named MESH channel, once the direct path carries the link. */
export class MeshBulk {
  readonly #meter: BulkMeter
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined

  constructor(meter: BulkMeter) {
    this.#meter = meter
  }

  /** Joins and reads whatever channel the other side opens. */
  async receive(options: MeshBulkOptions): Promise<void> {
    const swarm = await enter(options)
    swarm.on('channel', (channel) => void this.#drain(channel))
  }

  /** Joins, waits for the direct path to the receiver and opens a channel on it. */
  async connect(options: MeshBulkOptions): Promise<void> {
    const swarm = await enter(options)
    const peer = await directPeer(swarm)
    const channel = await peer.open('bulk')
    this.#writer = channel.writable.getWriter()
  }

  /** Resolves when everything is handed to the channel. */
  async send(totalBytes: number): Promise<void> {
    const chunk = new Uint8Array(WRITE_BYTES).fill(7)
    for (let sent = 0; sent < totalBytes; sent += WRITE_BYTES) await this.#writer!.write(chunk)
  }

  async #drain(channel: Channel): Promise<void> {
    const reader = channel.readable.getReader()
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      this.#meter.receive(read.value.byteLength)
    }
  }
}

function enter({ origin, party }: MeshBulkOptions): Promise<Swarm> {
  return join({ servers: origin, party: Uint8Array.from(party), identity: 'ephemeral' })
}

function directPeer(swarm: Swarm): Promise<Peer> {
  return new Promise((resolve) => {
    swarm.on('path', (peer) => {
      if (peer.path === 'direct') resolve(peer)
    })
  })
}
