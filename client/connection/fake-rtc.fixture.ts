import type {
  RtcConfiguration,
  RtcConnection,
  RtcConnectionState,
  RtcDataChannel,
  RtcDataChannelOptions,
  RtcFactory,
  RtcIceCandidateInit,
  RtcSessionDescription,
} from './rtc.ts'

type Listener = (event: never) => void

class Target {
  readonly #listeners: { readonly type: string; readonly listener: Listener }[] = []

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.push({ type, listener })
  }

  emit(type: string, event: unknown = {}): void {
    for (const { type: heard, listener } of this.#listeners) if (heard === type) listener(event as never)
  }
}

/** WebRTC that does nothing by itself: the test says what happens. */
export class FakeRtc implements RtcFactory {
  readonly connections: FakeConnection[] = []
  /** What `create` waits for; a rejection refuses the next connections. */
  gate: Promise<void> = Promise.resolve()

  get last(): FakeConnection {
    return this.connections.at(-1) as FakeConnection
  }

  async create(configuration: RtcConfiguration): Promise<RtcConnection> {
    await this.gate
    const connection = new FakeConnection(configuration)
    this.connections.push(connection)
    return connection
  }
}

export class FakeConnection extends Target implements RtcConnection {
  readonly configuration: RtcConfiguration
  readonly channel = new FakeChannel()
  readonly datagrams = new FakeChannel()
  connectionState: RtcConnectionState = 'new'
  iceConnectionState = 'new'
  closed = false
  /** "local offer", "remote answer", "candidate x", in order. */
  readonly log: string[] = []
  refuseDescriptions = false
  refuseCandidates = false

  constructor(configuration: RtcConfiguration) {
    super()
    this.configuration = configuration
  }

  createDataChannel(_label: string, { id }: RtcDataChannelOptions): RtcDataChannel {
    return id === 0 ? this.channel : this.datagrams
  }

  async createOffer() {
    return { type: 'offer', sdp: 'own offer' }
  }

  async createAnswer() {
    return { type: 'answer', sdp: 'own answer' }
  }

  async setLocalDescription({ type }: RtcSessionDescription): Promise<void> {
    this.log.push(`local ${type}`)
  }

  async setRemoteDescription({ type, sdp }: RtcSessionDescription): Promise<void> {
    if (this.refuseDescriptions) throw new DOMException('no such thing', 'InvalidAccessError')
    this.log.push(`remote ${type} ${sdp}`)
  }

  async addIceCandidate({ candidate }: RtcIceCandidateInit): Promise<void> {
    this.log.push(`candidate ${candidate}`)
    if (this.refuseCandidates) throw new DOMException('no such candidate', 'OperationError')
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.connectionState = 'closed'
    this.channel.end()
    this.emit('connectionstatechange')
  }

  gathered(candidate: string): void {
    this.emit('icecandidate', { candidate: { candidate, sdpMid: '0', sdpMLineIndex: 0 } })
  }

  open(): void {
    this.connectionState = 'connected'
    this.channel.readyState = 'open'
    this.channel.emit('open')
  }

  fail(iceConnectionState = 'failed'): void {
    this.iceConnectionState = iceConnectionState
    this.connectionState = 'failed'
    this.emit('connectionstatechange')
  }
}

export class FakeChannel extends Target implements RtcDataChannel {
  binaryType = 'blob'
  readyState: RtcDataChannel['readyState'] = 'connecting'
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  readonly sent: Uint8Array[] = []

  send(data: Uint8Array): void {
    this.sent.push(data)
  }

  end(): void {
    if (this.readyState === 'closed') return
    this.readyState = 'closed'
    this.emit('close')
  }

  close(): void {
    this.end()
  }
}
