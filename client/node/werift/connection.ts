import { randomBytes } from 'node:crypto'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type {
  RtcConnection,
  RtcConnectionState,
  RtcDataChannel,
  RtcIceCandidateInit,
  RtcSessionDescription,
} from '../../connection/rtc.ts'
import { WeriftDataChannel } from './data-channel.ts'
import { DtlsGuard } from './dtls-guard.ts'
import { gatherCandidates } from './gathering.ts'
import { IceGuard } from './ice-guard.ts'
import type { IceServers } from './ice-options.ts'
import { Listeners } from './listeners.ts'
import { MAX_REMOTE_CANDIDATES, usableCandidate } from './remote-candidate.ts'
import { SctpGuard } from './sctp-guard.ts'
import { type RemoteDescription, readRemoteDescription } from './session-description.ts'
import type {
  DtlsTransport,
  SctpTransport,
  WeriftCertificate,
  WeriftModule,
  WeriftPeerConnection,
} from './werift-internals.ts'

/**
 * One peer connection as the W3C describes it, over werift's.
 *
 * How it is put together (only objects of this connection are changed, never werift's classes):
 *   1. werift's peer connection makes one ICE agent, one DTLS transport and one SCTP association. Each is caught where it is
 *      made and given its guard, before anything reaches the network.
 *   2. Remote descriptions and candidates are rewritten (`session-description.ts`, `remote-candidate.ts`).
 *   3. setLocalDescription resolves at once and candidates follow as events; werift waits for all of them.
 *   4. The DTLS transport's own `start` is replaced: `DtlsGuard` does the handshake.
 *
 * W3C differences mended: the end of candidates is null; close() returns nothing and may be called twice; a connection that
 * the other side ended, or that did not come about in time, is 'failed'.
 */
export interface ConnectionOptions {
  readonly werift: WeriftModule
  readonly certificate: WeriftCertificate
  readonly servers: IceServers
  readonly hostAddresses: readonly string[]
  readonly clock: Clock
  readonly connectTimeoutMs: number
  readonly log: (message: string, detail?: unknown) => void
}

interface ConnectionEvents extends Record<string, unknown> {
  icecandidate: { readonly candidate: RtcIceCandidateInit | null }
  connectionstatechange: undefined
  icecandidateerror: { readonly errorCode: number; readonly errorText: string }
}

/** Channels of one connection. The SDK uses one. */
const MAX_CHANNELS = 64

export class WeriftConnection implements RtcConnection {
  readonly #options: ConnectionOptions
  readonly #peer: WeriftPeerConnection
  readonly #listeners: Listeners<ConnectionEvents>
  readonly #channels = new Map<number, WeriftDataChannel>()
  #state: RtcConnectionState = 'new'
  #ice: IceGuard | undefined
  #dtls: DtlsGuard | undefined
  #sctp: SctpGuard | undefined
  #transport: DtlsTransport | undefined
  #remote: RemoteDescription | undefined
  #remoteApplied = false
  #candidates: string[] = []
  #candidateCount = 0
  #gathering: Promise<void> | undefined
  #deadline: Timer | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#listeners = new Listeners((error) => options.log('A connection listener threw', error))
    this.#peer = new options.werift.RTCPeerConnection({
      certificates: [options.certificate],
      iceServers: [],
      iceTransportPolicy: options.servers.relayOnly ? 'relay' : 'all',
      bundlePolicy: 'max-bundle',
      maxMessageSize: 65_536,
    })
    this.#guardTransports()
    this.#peer.onIceCandidate.subscribe(() => {})
    this.#peer.secureManager.onIceCandidate.subscribe((candidate) => this.#announce(candidate.toJSON()))
    this.#peer.connectionStateChange.subscribe((state) => this.#setState(state as RtcConnectionState))
  }

  get connectionState(): RtcConnectionState {
    return this.#state
  }

  /**
   * 'failed' when no pair of addresses worked, also where werift would try for ever; never 'completed', which in werift may
   * mean no more than that gathering ended.
   */
  get iceConnectionState(): string {
    if (this.#state === 'closed') return 'closed'
    const ice = this.#transport?.iceTransport
    if (this.#state === 'failed' && ice?.connection.nominated === undefined) return 'failed'
    return ice === undefined ? 'new' : ice.state === 'completed' ? 'connected' : ice.state
  }

  /**
   * Creates a negotiated channel.
   * @throws MeshError INVALID_ARGUMENT for a label that is not printable ASCII of at most 255 characters, an id outside
   *   0–65534 or in use; LIMIT_EXCEEDED above 64 channels; LINK_CLOSED after close().
   */
  createDataChannel(label: string, options: { negotiated: true; id: number; ordered: true }): RtcDataChannel {
    this.#requireOpen()
    if (!/^[\x20-\x7e]{0,255}$/.test(label)) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        'A channel label must be printable ASCII, at most 255 characters',
      )
    }
    const { id } = options
    if (!options.negotiated || !options.ordered) {
      throw new MeshError(ErrorReason.NOT_SUPPORTED, 'Only negotiated, ordered channels are supported')
    }
    if (!Number.isInteger(id) || id < 0 || id > 65_534 || this.#channels.has(id)) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `Channel id ${id} is out of range or in use`)
    }
    if (this.#channels.size >= MAX_CHANNELS) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many channels on one connection', {
        limitValue: MAX_CHANNELS,
      })
    }
    const core = this.#peer.createDataChannel(label, { negotiated: true, id, ordered: true })
    const channel = new WeriftDataChannel({
      id,
      core,
      clock: this.#options.clock,
      log: this.#options.log,
      wake: () => this.#sctp?.wake(),
      isDrained: () => this.#sctp?.isDrained(id) ?? true,
    })
    this.#channels.set(id, channel)
    channel.addEventListener('close', () => this.#channels.delete(id))
    return channel
  }

  createOffer(): Promise<{ type: string; sdp?: string }> {
    return this.#whileOpen(() => this.#peer.createOffer())
  }

  createAnswer(): Promise<{ type: string; sdp?: string }> {
    return this.#whileOpen(() => this.#peer.createAnswer())
  }

  async setLocalDescription(description: RtcSessionDescription): Promise<void> {
    await this.#whileOpen(() => this.#peer.setLocalDescription(description))
  }

  /** @throws MeshError DTLS_FAILED or INVALID_ARGUMENT for a description that is not acceptable; see `readRemoteDescription`. */
  async setRemoteDescription(description: RtcSessionDescription): Promise<void> {
    this.#requireOpen()
    if (this.#remote !== undefined) {
      // An ICE restart of werift's dies silently; the SDK replaces connections instead.
      throw new MeshError(ErrorReason.NOT_SUPPORTED, 'A connection is negotiated once; make a new one instead')
    }
    const remote = readRemoteDescription(description)
    this.#remote = remote
    await this.#whileOpen(() => this.#peer.setRemoteDescription({ type: remote.type, sdp: remote.sdp }))
    this.#remoteApplied = true
    const waiting = [...remote.candidates, ...this.#candidates]
    this.#candidates = []
    for (const candidate of waiting) this.#addCandidate(candidate)
  }

  /**
   * Adds a remote candidate. The empty one, for the end of candidates, changes nothing: ICE goes on as long as it may.
   * @throws MeshError INVALID_ARGUMENT when it is not a candidate; LIMIT_EXCEEDED after 64 of them.
   */
  async addIceCandidate(init: RtcIceCandidateInit): Promise<void> {
    this.#requireOpen()
    if (init.candidate === '') return
    const candidate = usableCandidate(init.candidate)
    if (candidate === undefined) return
    this.#candidateCount += 1
    if (this.#candidateCount > MAX_REMOTE_CANDIDATES) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many remote candidates', {
        limitValue: MAX_REMOTE_CANDIDATES,
      })
    }
    if (this.#remoteApplied) this.#addCandidate(candidate)
    else this.#candidates.push(candidate)
  }

  addEventListener(type: 'icecandidate', listener: (event: { candidate: RtcIceCandidateInit | null }) => void): void
  addEventListener(type: 'connectionstatechange', listener: () => void): void
  addEventListener(type: 'icecandidateerror', listener: (event: { errorCode: number; errorText: string }) => void): void
  addEventListener(type: keyof ConnectionEvents & string, listener: (event: never) => void): void {
    this.#listeners.add(type, listener as (event: unknown) => void)
  }

  removeEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.remove(type, listener as (event: unknown) => void)
  }

  /** As in W3C, neither the connection nor its channels announce an end that was asked for here. */
  close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#listeners.clear()
    this.#deadline?.cancel()
    for (const channel of this.#channels.values()) channel.closeNow(false)
    this.#channels.clear()
    // In this order: werift says ABORT on the association before its first await, then DTLS says close_notify, then sockets end.
    this.#peer.close().catch((error: unknown) => this.#options.log('werift failed to close', error))
    this.#sctp?.close()
    this.#dtls?.close()
    this.#ice?.close()
  }

  #requireOpen(): void {
    if (this.#state === 'closed') throw new MeshError(ErrorReason.LINK_CLOSED, 'The connection is closed')
  }

  /** werift's calls never settle once it is closed; here they reject. */
  async #whileOpen<T>(call: () => Promise<T>): Promise<T> {
    this.#requireOpen()
    let result: T
    try {
      result = await call()
    } catch (error) {
      throw error instanceof MeshError
        ? error
        : new MeshError(ErrorReason.INVALID_ARGUMENT, 'The description does not fit the state of the connection', {
            cause: error,
          })
    }
    this.#requireOpen()
    return result
  }

  #guardTransports(): void {
    const { secureManager, sctpManager } = this.#peer
    const createTransport = secureManager.createTransport.bind(secureManager)
    secureManager.createTransport = (...args) => {
      const transport = createTransport(...args)
      this.#guardTransport(transport)
      return transport
    }
    const createSctpTransport = sctpManager.createSctpTransport.bind(sctpManager)
    sctpManager.createSctpTransport = (...args) => {
      const transport = createSctpTransport(...args)
      this.#guardAssociation(transport)
      return transport
    }
    const gather = this.#peer.gatherCandidates.bind(this.#peer)
    this.#peer.gatherCandidates = () => {
      this.#gathering ??= gather().then(() => this.#endCandidates())
      this.#startDeadline()
      return Promise.resolve()
    }
  }

  #guardTransport(transport: DtlsTransport): void {
    const { werift, servers, clock, log } = this.#options
    const agent = transport.iceTransport.connection
    // werift's own secrets have 16 and 88 bits; RFC 8445 section 5.3 asks for at least 24 and 128.
    agent.localUsername = iceSecret(6)
    agent.localPassword = iceSecret(18)
    agent.stunServer = undefined
    agent.turnServer = undefined
    this.#ice = new IceGuard(agent, werift, clock)
    this.#transport = transport
    agent.gatherCandidates = () =>
      gatherCandidates({
        werift,
        agent,
        servers,
        hostAddresses: this.#options.hostAddresses,
        clock,
        log,
        onError: (errorCode, errorText) => this.#listeners.emit('icecandidateerror', { errorCode, errorText }),
      })
    transport.start = () => this.#startDtls(transport)
    transport.sendData = (data) => {
      this.#dtls?.send(data)
      return Promise.resolve()
    }
  }

  #guardAssociation(sctpTransport: SctpTransport): void {
    const setDtlsTransport = sctpTransport.setDtlsTransport.bind(sctpTransport)
    sctpTransport.setDtlsTransport = (transport) => {
      const before = sctpTransport.sctp
      setDtlsTransport(transport)
      const association = sctpTransport.sctp
      if (association === before) return
      this.#sctp?.close()
      this.#sctp = new SctpGuard({
        association,
        transport,
        streams: this.#channels,
        clock: this.#options.clock,
        crc32c: this.#options.werift.crc32c,
        send: (packet) => this.#dtls?.send(packet),
        onMessage: (message) => this.#channels.get(message.streamId)?.receive(message),
        onProgress: () => {
          for (const channel of this.#channels.values()) channel.progress()
        },
        log: this.#options.log,
      })
      association.stateChanged.closed.subscribe(() => this.#setState('failed'))
    }
  }

  /** In place of werift's: resolves when the handshake is complete, rejects when it failed. */
  async #startDtls(transport: DtlsTransport): Promise<void> {
    const remote = this.#remote
    const ice = this.#ice
    if (remote === undefined || ice === undefined || transport.localCertificate === undefined) {
      throw new MeshError(ErrorReason.DTLS_FAILED, 'The DTLS handshake was begun without a remote description')
    }
    if (transport.role === 'auto') {
      transport.role = transport.iceTransport.role === 'controlling' ? 'server' : 'client'
    }
    transport.setState('connecting')
    const guardOptions = {
      werift: this.#options.werift,
      role: transport.role,
      certificate: transport.localCertificate,
      fingerprint: remote.fingerprint,
      clock: this.#options.clock,
      send: (datagram: Buffer) => ice.send(datagram),
      onData: (plaintext: Buffer) => transport.dataReceiver?.(plaintext),
      onPeerClosed: () => {
        transport.setState('closed')
        this.#setState('failed')
      },
    }
    await new Promise<void>((resolve, reject) => {
      const dtls = new DtlsGuard({ ...guardOptions, onConnected: resolve, onFailed: reject })
      this.#dtls = dtls
      transport.dtls = dtls.socket
      ice.listen((datagram) => dtls.receive(datagram))
      dtls.start()
    }).catch((error: unknown) => {
      this.#options.log('DTLS failed', error)
      transport.setState('failed')
      throw error
    })
    transport.setState('connected')
  }

  #addCandidate(candidate: string): void {
    const agent = this.#transport?.iceTransport.connection
    if (agent === undefined || this.#state === 'closed') return
    agent
      .addRemoteCandidate(this.#options.werift.Candidate.fromSdp(candidate))
      .catch((error: unknown) => this.#options.log('werift refused a candidate', error))
  }

  #announce(init: RtcIceCandidateInit): void {
    this.#listeners.emit('icecandidate', {
      candidate: {
        candidate: init.candidate.startsWith('candidate:') ? init.candidate : `candidate:${init.candidate}`,
        sdpMid: init.sdpMid ?? null,
        sdpMLineIndex: init.sdpMLineIndex ?? null,
        usernameFragment: init.usernameFragment ?? null,
      },
    })
  }

  #endCandidates(): void {
    this.#listeners.emit('icecandidate', { candidate: null })
  }

  /** ICE of werift's never gives up by itself. */
  #startDeadline(): void {
    const { clock, connectTimeoutMs } = this.#options
    this.#deadline ??= clock.schedule(connectTimeoutMs, () => this.#setState('failed'))
  }

  #setState(state: RtcConnectionState): void {
    if (this.#state === 'closed' || this.#state === 'failed' || state === this.#state) return
    if (state === 'connected') this.#deadline?.cancel()
    this.#state = state
    this.#listeners.emit('connectionstatechange', undefined)
  }
}

/** Random base64: every character of it is an ice-char (RFC 8839 section 5.4). */
function iceSecret(byteCount: number): string {
  return randomBytes(byteCount).toString('base64')
}
