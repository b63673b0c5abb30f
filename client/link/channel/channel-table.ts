import { create } from '@bufbuild/protobuf'
import { ErrorReason, equalBytes, MeshError, toHex } from '@mesh/core'
import {
  type ChannelData,
  ChannelKind,
  type ChannelOpen,
  ChannelOpenSchema,
  type Datagram,
  DatagramSchema,
  type Frame,
  FrameSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { invalidFrame, MAX_NAME_BYTES, utf8Length } from '../frame-check.ts'
import { frameBytes } from '../frame-size.ts'
import type { LinkStats } from '../link-effects.ts'
import { INITIAL_CREDIT_BYTES, type LinkLimits } from '../link-limits.ts'
import type { Outgoing } from '../outgoing.ts'
import type { Scheduler } from '../scheduler.ts'
import { type ChannelHost, ChannelMachine, channelClosed, resetFrame } from './channel-machine.ts'
import type { ReassemblyBudget } from './inbox.ts'
import { LinkChannel } from './link-channel.ts'

// The channels of a link, by id.
//
// Ids tell the opener (even: the peer with the lower key) and rise, so the highest one seen from each side separates
// what never was (a violation) from what is over (frames that crossed with an end or a reset: ignored), without
// remembering closed channels.

/** ChannelOpen.channel is a uint32. */
const MAX_CHANNEL_ID = 0xffff_ffff

export interface ChannelTableOptions {
  readonly role: 'lower' | 'higher'
  readonly limits: LinkLimits
  readonly scheduler: Scheduler
  /** Something has become ready to be sent. */
  readonly wake: () => void
  /** A frame before all data; the link closes when it cannot be queued. */
  readonly sendUrgent: (outgoing: Outgoing) => void
  /** A frame that is sent now or never. False: dropped. */
  readonly sendDatagram: (frame: Frame) => boolean
  /** The other side opened a channel. */
  readonly opened: (channel: LinkChannel) => void
  /** Whether the direct path carries the link. */
  readonly direct: () => boolean
}

export interface OpenChannelOptions {
  /** 32 bytes. */
  topic: Uint8Array
  /** At most 256 bytes in UTF-8. Default empty. */
  name?: string | undefined
  kind: ChannelKind
}

export class ChannelTable implements ChannelHost {
  readonly #options: ChannelTableOptions
  readonly #machines = new Map<number, ChannelMachine>()
  readonly #open = { local: 0, remote: 0 }
  readonly reassembly: ReassemblyBudget = { bytes: 0 }
  /** Topics, in hexadecimal, whose data only the direct path may carry. */
  readonly #confined = new Set<string>()
  #nextLocal: number
  #lastRemote: number

  constructor(options: ChannelTableOptions) {
    this.#options = options
    const lower = options.role === 'lower'
    // Lower: 2, 4, ... Higher: 1, 3, ... Zero is never used.
    this.#nextLocal = lower ? 2 : 1
    this.#lastRemote = lower ? -1 : 0
  }

  get limits(): LinkLimits {
    return this.#options.limits
  }
  /** Whether no channel has anything left to send. */
  get idle(): boolean {
    for (const machine of this.#machines.values()) if (!machine.outbox.idle) return false
    return true
  }
  /** Channels that have something left to send. */
  get waiting(): number {
    let waiting = 0
    for (const machine of this.#machines.values()) if (!machine.outbox.idle) waiting += 1
    return waiting
  }
  /** Channels with a direction that is not over, and the bytes queued on them. */
  get stats(): Pick<LinkStats, 'openChannels' | 'queuedBytes'> {
    let queuedBytes = 0
    for (const machine of this.#machines.values()) queuedBytes += machine.outbox.queuedBytes
    return { openChannels: this.#machines.size, queuedBytes }
  }

  /**
   * Opens a channel; data may follow at once.
   * @throws MeshError INVALID_ARGUMENT (topic, name); LIMIT_EXCEEDED (open channels)
   */
  open({ topic, name = '', kind }: OpenChannelOptions): LinkChannel {
    if (topic.length !== 32) throw invalidArgument(`A topic has ${topic.length} bytes, must be 32`)
    const nameBytes = utf8Length(name)
    if (nameBytes > MAX_NAME_BYTES) throw invalidArgument(`The name has ${nameBytes} bytes, at most ${MAX_NAME_BYTES}`)
    if (this.#open.local >= this.limits.maxChannels || this.#nextLocal > MAX_CHANNEL_ID) throw this.#tooMany()
    const value = create(ChannelOpenSchema, {
      channel: this.#nextLocal,
      topic,
      name,
      kind,
      credit: BigInt(INITIAL_CREDIT_BYTES),
    })
    this.#nextLocal += 2
    const frame = create(FrameSchema, { body: { case: 'open', value } })
    const channel = this.#add(value, 'local')
    this.#options.sendUrgent({ frame, bytes: frameBytes(frame) })
    return channel
  }

  /**
   * Takes a frame of a channel, in order. Any other is one that a newer version knows: it has had its place in the
   * order, and means nothing here.
   * @throws MeshError FRAME_INVALID when it breaks the protocol
   */
  receive(body: Frame['body']): void {
    if (body.case === 'open') return this.#receiveOpen(body.value)
    if (body.case !== 'data' && body.case !== 'credit' && body.case !== 'end' && body.case !== 'reset') return
    const machine = this.#find(body.value.channel)
    if (machine === undefined) return
    switch (body.case) {
      case 'data':
        return this.#receiveData(machine, body.value)
      case 'credit':
        if (body.value.credit > Number.MAX_SAFE_INTEGER) throw invalidFrame('ChannelCredit beyond 2^53')
        return machine.receiveCredit(Number(body.value.credit))
      case 'end':
        return machine.receiveEnd()
      case 'reset': {
        const { error, message } = body.value
        const text = message === '' ? undefined : message
        const failure = error === undefined ? channelClosed(machine.name) : MeshError.fromDetail(error, text)
        // One that ended with its path ends as with its link: what was acknowledged can still be read.
        machine.fail(failure, { discard: failure.reason !== ErrorReason.LINK_CLOSED })
      }
    }
  }

  /**
   * Takes a Datagram. It may come before the opening of its channel, or after its end: then nobody gets it.
   * @throws MeshError FRAME_INVALID on a channel of another kind
   */
  receiveDatagram({ channel, data }: Datagram): void {
    this.#machines.get(channel)?.receiveDatagram(data)
  }

  /** From now on only the direct path carries data of the topic. */
  confine(topic: Uint8Array): void {
    this.#confined.add(toHex(topic))
    this.holdConfined()
  }

  /** Another path carries the link: confined channels wait for the direct one, or go on. */
  holdConfined(): void {
    for (const machine of this.#confinedMachines()) {
      machine.held = !this.#options.direct()
      if (machine.ready) this.activate(machine)
    }
  }

  /** The direct path is gone: ends the channels that only it may carry, on both sides. Returns their ids. */
  endConfined(error: MeshError): ReadonlySet<number> {
    const machines = this.#confinedMachines()
    for (const machine of machines) {
      this.#reset(machine.id, error)
      machine.fail(error, { discard: false })
    }
    return new Set(machines.map(({ id }) => id))
  }

  /** Ends the channels of a topic that is off the link, on this side only: the other side does the same. */
  detach(topic: Uint8Array): void {
    this.#confined.delete(toHex(topic))
    for (const machine of [...this.#machines.values()]) {
      if (equalBytes(machine.topic, topic)) machine.fail(channelClosed(machine.name), { discard: true })
    }
  }

  /** Ends all channels with the link. What was received stays readable. */
  fail(error: MeshError): void {
    for (const machine of [...this.#machines.values()]) machine.fail(error, { discard: false })
  }

  activate(machine: ChannelMachine): void {
    this.#options.scheduler.activate(machine)
    this.#options.wake()
  }

  giveCredit(machine: ChannelMachine): void {
    this.#options.scheduler.pushCredit(machine)
    this.#options.wake()
  }

  sendDatagram({ id }: ChannelMachine, data: Uint8Array): boolean {
    const value = create(DatagramSchema, { channel: id, data })
    return this.#options.sendDatagram(create(FrameSchema, { body: { case: 'datagram', value } }))
  }

  sendReset(machine: ChannelMachine, error: MeshError): void {
    this.#reset(machine.id, error)
  }

  forget(machine: ChannelMachine): void {
    if (!this.#machines.delete(machine.id)) return
    this.#open[machine.opener] -= 1
    this.#options.scheduler.remove(machine)
  }

  #receiveOpen(open: ChannelOpen): void {
    const id = open.channel
    if (this.#isLocal(id)) throw invalidFrame(`Channel ${id} has the parity of this side`)
    if (id <= this.#lastRemote || id === 0) throw invalidFrame(`Channel ${id} does not follow ${this.#lastRemote}`)
    if (open.credit > Number.MAX_SAFE_INTEGER) throw invalidFrame('ChannelOpen.credit beyond 2^53')
    this.#lastRemote = id
    if (open.kind > ChannelKind.DATAGRAMS) {
      this.#reset(id, new MeshError(ErrorReason.NOT_SUPPORTED, `Channels of kind ${open.kind} are not known here`))
    } else if (this.#open.remote >= this.limits.maxChannels) {
      this.#reset(id, this.#tooMany())
    } else this.#options.opened(this.#add(open, 'remote'))
  }

  #receiveData(machine: ChannelMachine, { data, endOfMessage }: ChannelData): void {
    try {
      machine.receiveData(data, endOfMessage)
    } catch (error) {
      // A violation ends the link; a message over a limit of this side ends the channel.
      const failure = MeshError.from(error)
      if (failure.reason === ErrorReason.FRAME_INVALID) throw failure
      machine.reset(failure)
    }
  }

  #add(open: ChannelOpen, opener: 'local' | 'remote'): LinkChannel {
    const machine = new ChannelMachine(open, opener, this)
    machine.held = this.#confined.has(toHex(machine.topic)) && !this.#options.direct()
    this.#machines.set(machine.id, machine)
    this.#open[opener] += 1
    return new LinkChannel(machine)
  }

  /** The channel; undefined when it is over. @throws MeshError FRAME_INVALID when it never was */
  #find(id: number): ChannelMachine | undefined {
    const machine = this.#machines.get(id)
    if (machine !== undefined) return machine
    const known = this.#isLocal(id) ? id < this.#nextLocal : id <= this.#lastRemote
    if (!known || id === 0) throw invalidFrame(`Channel ${id} was never opened`)
    return undefined
  }

  #confinedMachines(): ChannelMachine[] {
    if (this.#confined.size === 0) return []
    return [...this.#machines.values()].filter(({ topic }) => this.#confined.has(toHex(topic)))
  }

  #isLocal(id: number): boolean {
    return id % 2 === this.#nextLocal % 2
  }

  #reset(id: number, error: MeshError): void {
    const frame = resetFrame(id, error)
    this.#options.sendUrgent({ frame, bytes: frameBytes(frame) })
  }

  #tooMany(): MeshError {
    const { maxChannels } = this.limits
    return new MeshError(ErrorReason.LIMIT_EXCEEDED, `${maxChannels} channels are open on the link`, {
      limit: 'max_channels',
      limitValue: maxChannels,
      retryable: true,
    })
  }
}

function invalidArgument(message: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, message)
}
