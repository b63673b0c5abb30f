import type { Random } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { Link, LinkChannel } from '../../../client/link/index.ts'
import type { SimClock } from '../sim-clock.ts'

// What the applications on both sides do: channels of every kind, messages of many sizes, slow readers; and the book
// in which it is checked that everything arrives once, whole and in order.

const TOPIC = new Uint8Array(32).fill(7)

/** One direction of one channel. */
interface Flow {
  readonly name: string
  /** Messages queued, or bytes written. */
  sent: number
  arrived: number
  ended: boolean
  endArrived: boolean
}

export interface TrafficOptions {
  readonly clock: SimClock
  readonly random: Random
  /** How long the applications go on sending, in milliseconds. */
  readonly durationMs: number
  readonly violation: (what: string) => void
}

export class SimTraffic {
  readonly #options: TrafficOptions
  readonly #flows = new Map<string, Flow>()
  /** Calls that have not settled, by what they were. */
  readonly unsettled = new Map<number, string>()
  settledWell = 0
  settledBadly = 0
  #call = 0
  #channel = 0

  constructor(options: TrafficOptions) {
    this.#options = options
  }

  /** Opens channels from this side at random times, and uses them. */
  start(link: Link, side: number): void {
    const { random, clock, durationMs } = this.#options
    const channels = 1 + Math.floor(random.uniform() * 3)
    for (let i = 0; i < channels; i++) {
      const name = `${side}-${this.#channel++}`
      clock.schedule(random.uniform() * durationMs * 0.5, () => this.#open(link, name))
    }
  }

  /** Serves a channel that the other side opened. */
  serve(channel: LinkChannel): void {
    const flow = `${channel.name}>`
    if (channel.kind === ChannelKind.BYTES) void this.#readBytes(channel, flow)
    else if (channel.kind === ChannelKind.REQUEST) {
      channel.onMessage((bytes) => {
        this.#checkMessage(flow, bytes)
        this.#sendMessage(channel, `${channel.name}<`)
      })
    } else if (this.#options.random.uniform() < 0.5) this.#listen(channel, flow)
    else void this.#readMessages(channel, flow)
    if (channel.kind === ChannelKind.MESSAGES) this.#produceMessages(channel, `${channel.name}<`)
    if (channel.kind === ChannelKind.BYTES) void this.#settles('end', () => channel.end())
  }

  /** Complains about everything that should have arrived and has not. */
  checkComplete(): void {
    for (const flow of this.#flows.values()) {
      if (flow.arrived !== flow.sent) this.#violation(`${flow.name}: ${flow.arrived} of ${flow.sent} arrived`)
      if (flow.ended && !flow.endArrived) this.#violation(`${flow.name}: its end did not arrive`)
    }
  }

  #open(link: Link, name: string): void {
    if (link.state === 'closed') return
    const dice = this.#options.random.uniform()
    const kind = dice < 0.5 ? ChannelKind.MESSAGES : dice < 0.75 ? ChannelKind.BYTES : ChannelKind.REQUEST
    const channel = link.openChannel({ topic: TOPIC, name, kind })
    if (kind === ChannelKind.BYTES) {
      void this.#writeBytes(channel)
      void this.#readBytes(channel, `${name}<`)
      return
    }
    channel.onMessage((bytes) => this.#checkMessage(`${name}<`, bytes))
    this.#noteEnd(channel, `${name}<`)
    if (kind === ChannelKind.REQUEST) this.#sendMessage(channel, `${name}>`)
    else this.#produceMessages(channel, `${name}>`)
  }

  #produceMessages(channel: LinkChannel, flow: string): void {
    const { random, clock, durationMs } = this.#options
    const bursts = 1 + Math.floor(random.uniform() * 6)
    for (let i = 0; i < bursts; i++) {
      clock.schedule(random.uniform() * durationMs, () => {
        const messages = 1 + Math.floor(random.uniform() ** 3 * 60)
        for (let j = 0; j < messages; j++) this.#sendMessage(channel, flow)
      })
    }
    clock.schedule(durationMs, () => {
      this.#flow(flow).ended = true
      void this.#settles('end', () => channel.end())
    })
  }

  #sendMessage(channel: LinkChannel, name: string): void {
    const flow = this.#flow(name)
    const bytes = messageBytes(flow.sent, this.#size())
    void this.#settles(`${name} message ${flow.sent}`, () => channel.sendMessage(bytes))
    flow.sent += 1
  }

  /** Mostly small, some of several frames, few longer than the initial credit. */
  #size(): number {
    const dice = this.#options.random.uniform()
    const scale = this.#options.random.uniform()
    if (dice < 0.9) return 8 + Math.floor(scale * 400)
    if (dice < 0.99) return 8 + Math.floor(scale * 60_000)
    return 8 + Math.floor(scale * 400_000)
  }

  #listen(channel: LinkChannel, flow: string): void {
    const { random, clock } = this.#options
    const slow = random.uniform() < 0.3
    channel.onMessage((bytes) => {
      this.#checkMessage(flow, bytes)
      if (!slow) return undefined
      return new Promise((resolve) => clock.schedule(random.uniform() * 40, resolve))
    })
    this.#noteEnd(channel, flow)
  }

  #noteEnd(channel: LinkChannel, flow: string): void {
    void channel.closed.then((error) => {
      if (error === undefined) this.#flow(flow).endArrived = true
    })
  }

  async #readMessages(channel: LinkChannel, flow: string): Promise<void> {
    try {
      for await (const bytes of channel.messages()) this.#checkMessage(flow, bytes)
      this.#flow(flow).endArrived = true
    } catch {
      // The link closed: what matters then is checked by the prefix that arrived.
    }
  }

  async #writeBytes(channel: LinkChannel): Promise<void> {
    const { random } = this.#options
    const flow = this.#flow(`${channel.name}>`)
    const total = Math.floor(random.uniform() ** 2 * 500_000)
    const writer = channel.writable.getWriter()
    try {
      while (flow.sent < total) {
        const size = Math.min(total - flow.sent, 1 + Math.floor(random.uniform() ** 2 * 40_000))
        const chunk = patternBytes(flow.sent, size)
        flow.sent += size
        await this.#settles(`${flow.name} write`, () => writer.write(chunk))
        // The chunk was copied: what becomes of it now must not matter.
        chunk.fill(0xee)
      }
      flow.ended = true
      await this.#settles(`${flow.name} close`, () => writer.close())
    } catch {
      // The link closed.
    }
  }

  async #readBytes(channel: LinkChannel, name: string): Promise<void> {
    const { random, clock } = this.#options
    const flow = this.#flow(name)
    const slow = random.uniform() < 0.3
    try {
      for await (const chunk of channel.readable) {
        checkPattern(flow.arrived, chunk, (what) => this.#violation(`${name}: ${what}`))
        flow.arrived += chunk.length
        if (slow) await new Promise<void>((resolve) => clock.schedule(random.uniform() * 20, resolve))
      }
      flow.endArrived = true
    } catch {
      // The link closed.
    }
  }

  #checkMessage(name: string, bytes: Uint8Array): void {
    const flow = this.#flow(name)
    const index = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
    const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4)
    if (index !== flow.arrived) this.#violation(`${name}: message ${index} arrived in place of ${flow.arrived}`)
    if (size !== bytes.length) this.#violation(`${name}: message ${index} has ${bytes.length} bytes instead of ${size}`)
    checkPattern(8, bytes.subarray(8), (what) => this.#violation(`${name}: message ${index}: ${what}`))
    flow.arrived += 1
    if (flow.arrived > flow.sent) this.#violation(`${name}: more messages arrived than were sent`)
  }

  async #settles(what: string, run: () => Promise<void>): Promise<void> {
    const call = this.#call++
    this.unsettled.set(call, what)
    try {
      await run()
      this.settledWell += 1
    } catch {
      this.settledBadly += 1
    }
    this.unsettled.delete(call)
  }

  #flow(name: string): Flow {
    let flow = this.#flows.get(name)
    if (flow === undefined) {
      flow = { name, sent: 0, arrived: 0, ended: false, endArrived: false }
      this.#flows.set(name, flow)
    }
    return flow
  }

  #violation(what: string): void {
    this.#options.violation(what)
  }
}

/** A message that says which one it is and how long; the rest follows from the position. */
function messageBytes(index: number, size: number): Uint8Array {
  const bytes = patternBytes(0, size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, index)
  view.setUint32(4, size)
  return bytes
}

/** Bytes that tell their position. Not periodic in any frame size, so that a swapped or repeated piece shows. */
const PATTERN = Uint8Array.from({ length: 1 << 20 }, (_, position) => position ^ (position >> 8) ^ (position >> 16))

function patternBytes(start: number, size: number): Uint8Array<ArrayBuffer> {
  return PATTERN.slice(start, start + size)
}

function checkPattern(start: number, bytes: Uint8Array, wrong: (what: string) => void): void {
  if (Buffer.compare(bytes, PATTERN.subarray(start, start + bytes.length)) !== 0) {
    wrong(`${bytes.length} bytes from ${start} are wrong`)
  }
}
