import type { Clock, Random } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Link, LinkChannel } from '../../../client/link/index.ts'
import type { SimBook } from './sim-book.ts'
import type { Side } from './sim-network.ts'

const TOPIC = new Uint8Array(32).fill(7)

export interface ApplicationOptions {
  /** Of its process: it acts while that runs. */
  readonly clock: Clock
  readonly random: Random
  readonly side: Side
  /** How long it goes on sending, in milliseconds. */
  readonly durationMs: number
  readonly book: SimBook
}

/**
 * What the application on one side of a link does: channels of every kind, messages of many sizes, slow readers. Whether it
 * worked is in the book.
 */
export class SimApplication {
  readonly #options: ApplicationOptions

  constructor(options: ApplicationOptions) {
    this.#options = options
  }

  /** Opens channels from this side at random times, and uses them. */
  start(link: Link): void {
    const { random, clock, durationMs, side } = this.#options
    const channels = 1 + Math.floor(random.uniform() * 3)
    for (let i = 0; i < channels; i++) {
      clock.schedule(random.uniform() * durationMs * 0.5, () => this.#open(link, `${side}-${i}`))
    }
  }

  /** Serves a channel that the other side opened. */
  serve(channel: LinkChannel): void {
    const { random, book } = this.#options
    const [flow, answers] = [`${channel.name}>`, `${channel.name}<`]
    if (channel.kind === ChannelKind.BYTES) {
      void this.#readBytes(channel, flow)
      void this.#settles('end', () => channel.end())
    } else if (channel.kind === ChannelKind.DATAGRAMS) {
      this.#useDatagrams(channel, answers, flow)
    } else if (channel.kind === ChannelKind.REQUEST) {
      channel.onMessage((bytes) => {
        book.messageArrived(flow, bytes)
        this.#sendMessage(channel, answers)
      })
    } else {
      if (random.uniform() < 0.5) this.#listen(channel, flow)
      else void this.#readMessages(channel, flow)
      this.#produceMessages(channel, answers)
    }
  }

  #open(link: Link, name: string): void {
    if (link.state === 'closed') return
    const { random, book } = this.#options
    const dice = random.uniform()
    const channel = link.openChannel({ topic: TOPIC, name, kind: kindFor(dice) })
    const { kind } = channel
    if (kind === ChannelKind.DATAGRAMS) return this.#useDatagrams(channel, `${name}>`, `${name}<`)
    if (kind === ChannelKind.BYTES) {
      void this.#writeBytes(channel)
      void this.#readBytes(channel, `${name}<`)
      return
    }
    channel.onMessage((bytes) => book.messageArrived(`${name}<`, bytes))
    this.#noteEnd(channel, `${name}<`)
    if (kind === ChannelKind.REQUEST) this.#sendMessage(channel, `${name}>`)
    else this.#produceMessages(channel, `${name}>`)
  }

  /** A stream of datagrams each way, until this side ends its own. */
  #useDatagrams(channel: LinkChannel, own: string, other: string): void {
    const { random, clock, durationMs, book } = this.#options
    channel.onMessage((bytes) => book.datagramArrived(other, bytes))
    const bursts = 1 + Math.floor(random.uniform() * 6)
    for (let i = 0; i < bursts; i++) {
      clock.schedule(random.uniform() * durationMs, () => {
        if (channel.state !== 'open') return
        for (let j = random.uniform() * 20; j > 0; j--) {
          book.datagram(own, 4 + Math.floor(random.uniform() * 1_000), (bytes) => channel.sendDatagram(bytes))
        }
      })
    }
    clock.schedule(durationMs, () => void this.#settles('end', () => channel.end()))
  }

  #produceMessages(channel: LinkChannel, name: string): void {
    const { random, clock, durationMs, book } = this.#options
    const bursts = 1 + Math.floor(random.uniform() * 6)
    for (let i = 0; i < bursts; i++) {
      clock.schedule(random.uniform() * durationMs, () => {
        const messages = 1 + Math.floor(random.uniform() ** 3 * 60)
        for (let j = 0; j < messages; j++) this.#sendMessage(channel, name)
      })
    }
    clock.schedule(durationMs, () => {
      book.flow(name).ended = true
      void this.#settles('end', () => channel.end())
    })
  }

  #sendMessage(channel: LinkChannel, name: string): void {
    const { book } = this.#options
    const flow = book.flow(name)
    const bytes = book.nextMessage(flow, this.#size())
    void this.#settles(`${name} message ${flow.sent}`, () => channel.sendMessage(bytes)).then((delivered) => {
      if (delivered) flow.delivered += 1
    })
  }

  /** Mostly small, some of several frames, few longer than the initial credit. */
  #size(): number {
    const dice = this.#options.random.uniform()
    const scale = this.#options.random.uniform()
    if (dice < 0.9) return 8 + Math.floor(scale * 400)
    if (dice < 0.99) return 8 + Math.floor(scale * 60_000)
    return 8 + Math.floor(scale * 400_000)
  }

  #listen(channel: LinkChannel, name: string): void {
    const { random, clock, book } = this.#options
    const slow = random.uniform() < 0.3
    channel.onMessage((bytes) => {
      book.messageArrived(name, bytes)
      if (!slow) return undefined
      return new Promise((resolve) => clock.schedule(random.uniform() * 40, resolve))
    })
    this.#noteEnd(channel, name)
  }

  #noteEnd(channel: LinkChannel, name: string): void {
    void channel.closed.then((error) => {
      if (error === undefined) this.#options.book.flow(name).endArrived = true
    })
  }

  async #readMessages(channel: LinkChannel, name: string): Promise<void> {
    const { book } = this.#options
    try {
      for await (const bytes of channel.messages()) book.messageArrived(name, bytes)
      book.flow(name).endArrived = true
    } catch {
      // The link closed: what matters then is checked by the prefix that arrived.
    }
  }

  async #writeBytes(channel: LinkChannel): Promise<void> {
    const { random, book } = this.#options
    const flow = book.flow(`${channel.name}>`)
    const total = Math.floor(random.uniform() ** 2 * 500_000)
    const writer = channel.writable.getWriter()
    while (flow.sent < total) {
      const size = Math.min(total - flow.sent, 1 + Math.floor(random.uniform() ** 2 * 40_000))
      const chunk = book.nextBytes(flow, size)
      const written = await this.#settles(`${flow.name} write`, () => writer.write(chunk))
      // The chunk was copied: what becomes of it now must not matter.
      chunk.fill(0xee)
      if (!written) return
    }
    flow.ended = true
    await this.#settles(`${flow.name} close`, () => writer.close())
  }

  async #readBytes(channel: LinkChannel, name: string): Promise<void> {
    const { random, clock, book } = this.#options
    const slow = random.uniform() < 0.3
    try {
      for await (const chunk of channel.readable) {
        book.bytesArrived(name, chunk)
        if (slow) await new Promise<void>((resolve) => clock.schedule(random.uniform() * 20, resolve))
      }
      book.flow(name).endArrived = true
    } catch {
      // The link closed.
    }
  }

  #settles(what: string, run: () => Promise<void>): Promise<boolean> {
    const { book, side } = this.#options
    return book.settles(side, what, run)
  }
}

function kindFor(dice: number): ChannelKind {
  if (dice < 0.45) return ChannelKind.MESSAGES
  if (dice < 0.7) return ChannelKind.BYTES
  return dice < 0.9 ? ChannelKind.REQUEST : ChannelKind.DATAGRAMS
}
