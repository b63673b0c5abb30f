import type { Clock } from '@mesh/core'
import type {
  RtcConnection,
  RtcConnectionState,
  RtcDataChannel,
  RtcDataChannelOptions,
  RtcFactory,
  RtcIceCandidateInit,
  RtcSessionDescription,
} from '../connection/rtc.ts'

/**
 * WebRTC without a network: connections of one MemoryRtc find each other by the name in their descriptions, and their data
 * channels hand bytes over after `delayMs` of the clock. Shaped like the real thing as far as the SDK uses it.
 */
export class MemoryRtc implements RtcFactory {
  readonly #clock: Clock
  readonly #delayMs: number
  readonly #connections = new Map<string, MemoryConnection>()
  #count = 0
  #blocked = false
  /** While true, channels that need not keep order lose everything. */
  losesDatagrams = false

  constructor(clock: Clock, delayMs = 1) {
    this.#clock = clock
    this.#delayMs = delayMs
  }

  /** Like a firewall: while true, nothing connects and nothing arrives. */
  set blocked(blocked: boolean) {
    this.#blocked = blocked
  }

  get blocked(): boolean {
    return this.#blocked
  }

  /** Open connections, both ends counted. */
  get open(): number {
    return [...this.#connections.values()].filter(({ connectionState }) => connectionState === 'connected').length
  }

  async create(): Promise<RtcConnection> {
    const name = `memory-${++this.#count}`
    const connection = new MemoryConnection(this, name)
    this.#connections.set(name, connection)
    return connection
  }

  /** Ends every data channel, as if all paths died at once. */
  killAll(): void {
    for (const connection of [...this.#connections.values()]) connection.close()
  }

  /** @internal */
  find(name: string): MemoryConnection | undefined {
    return this.#connections.get(name)
  }

  /** @internal */
  forget(name: string): void {
    this.#connections.delete(name)
  }

  /** @internal */
  later(run: () => void): void {
    this.#clock.schedule(this.#delayMs, () => {
      if (!this.#blocked) run()
    })
  }
}

type Listener = (event: never) => void

/** Listeners by event, as EventTarget has them. */
class Listeners {
  readonly #listeners = new Map<string, Listener[]>()

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener])
  }

  emit(type: string, event: unknown): void {
    for (const listener of this.#listeners.get(type) ?? []) (listener as (event: unknown) => void)(event)
  }
}

export class MemoryConnection extends Listeners implements RtcConnection {
  connectionState: RtcConnectionState = 'new'
  readonly #rtc: MemoryRtc
  readonly #name: string
  readonly #channels = new Map<number, MemoryChannel>()
  #remote: string | undefined

  constructor(rtc: MemoryRtc, name: string) {
    super()
    this.#rtc = rtc
    this.#name = name
  }

  get iceConnectionState(): string {
    return this.connectionState
  }

  createDataChannel(_label: string, { id, ordered }: RtcDataChannelOptions): RtcDataChannel {
    const remote = () => (this.#remote ? this.#rtc.find(this.#remote)?.channel(id) : undefined)
    const channel = new MemoryChannel(this.#rtc, remote, ordered)
    this.#channels.set(id, channel)
    return channel
  }

  async createOffer(): Promise<{ type: string; sdp: string }> {
    return { type: 'offer', sdp: this.#name }
  }

  async createAnswer(): Promise<{ type: string; sdp: string }> {
    return { type: 'answer', sdp: this.#name }
  }

  async setLocalDescription(): Promise<void> {
    const candidate: RtcIceCandidateInit = { candidate: `candidate:${this.#name}`, sdpMid: '0', sdpMLineIndex: 0 }
    this.emit('icecandidate', { candidate })
    this.emit('icecandidate', { candidate: null })
  }

  async setRemoteDescription({ sdp, type }: RtcSessionDescription): Promise<void> {
    this.#remote = sdp
    if (type !== 'answer') return
    this.#rtc.later(() => {
      this.connected()
      this.#rtc.find(sdp)?.connected()
    })
  }

  async addIceCandidate(): Promise<void> {}

  close(): void {
    if (this.connectionState === 'closed') return
    this.connectionState = 'closed'
    this.#rtc.forget(this.#name)
    for (const channel of this.#channels.values()) channel.end()
    const remote = this.#remote && this.#rtc.find(this.#remote)
    if (remote) this.#rtc.later(() => remote.close())
  }

  /** As if its process had been killed: the other side hears nothing more, not even an end. */
  vanish(): void {
    this.#rtc.forget(this.#name)
    this.#remote = undefined
  }

  /** @internal */
  connected(): void {
    if (this.connectionState === 'closed') return
    this.connectionState = 'connected'
    this.emit('connectionstatechange', {})
    for (const channel of this.#channels.values()) channel.start()
  }

  /** @internal */
  channel(id: number): MemoryChannel | undefined {
    return this.#channels.get(id)
  }
}

class MemoryChannel extends Listeners implements RtcDataChannel {
  binaryType = 'arraybuffer'
  readyState: RtcDataChannel['readyState'] = 'connecting'
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  readonly #rtc: MemoryRtc
  readonly #remote: () => MemoryChannel | undefined
  readonly #ordered: boolean

  constructor(rtc: MemoryRtc, remote: () => MemoryChannel | undefined, ordered: boolean) {
    super()
    this.#rtc = rtc
    this.#remote = remote
    this.#ordered = ordered
  }

  send(data: Uint8Array): void {
    if (this.readyState !== 'open') throw new DOMException('the channel is not open', 'InvalidStateError')
    const copy = data.slice()
    this.bufferedAmount += copy.length
    this.#rtc.later(() => {
      this.bufferedAmount -= copy.length
      if (this.#ordered || !this.#rtc.losesDatagrams) this.#remote()?.emit('message', { data: copy.buffer })
      if (this.bufferedAmount <= this.bufferedAmountLowThreshold) this.emit('bufferedamountlow', {})
    })
  }

  start(): void {
    if (this.readyState !== 'connecting') return
    this.readyState = 'open'
    this.emit('open', {})
  }

  end(): void {
    if (this.readyState === 'closed') return
    this.readyState = 'closed'
    this.emit('close', {})
  }

  close(): void {
    this.end()
  }
}
