import { randomBytes } from 'node:crypto'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import { DtlsGuard } from './dtls-guard.ts'
import { gatherCandidates } from './gathering.ts'
import { IceGuard } from './ice-guard.ts'
import type { IceServers } from './ice-options.ts'
import { SctpGuard } from './sctp-guard.ts'
import type { InboundMessage } from './sctp-inbound.ts'
import type { OutboundStream } from './sctp-outbound.ts'
import type { SctpTransport } from './werift-association.ts'
import type { DtlsTransport, WeriftCertificate, WeriftModule, WeriftPeerConnection } from './werift-internals.ts'

/**
 * werift's peer connection with a guard in front of each of its layers.
 *
 * werift makes one ICE agent, one DTLS transport and one SCTP association per connection, at different moments. Each is caught
 * where it is made and given its guard before anything reaches the network:
 *   1. sockets → `IceGuard` → ICE agent; DTLS datagrams go past the agent to
 *   2. `DtlsGuard`, in place of werift's `start`; what it decrypts goes to
 *   3. `SctpGuard` → SCTP association and channels.
 * Only objects of this connection are changed, never werift's classes: other users of werift in the process see no difference.
 */
export interface GuardedPeerOptions {
  readonly werift: WeriftModule
  readonly certificate: WeriftCertificate
  readonly servers: IceServers
  readonly hostAddresses: readonly string[]
  readonly clock: Clock
  readonly log: (message: string, detail?: unknown) => void
  /** Channels by id, kept by the owner. */
  readonly channels: ReadonlyMap<number, GuardedChannel>
  readonly onGatheringBegun: () => void
  readonly onGatheringDone: () => void
  readonly onCandidateError: (code: number, text: string) => void
  /** The connection cannot carry anything any more. May be called more than once. */
  readonly onFailed: () => void
}

/** What the association needs of a channel. */
export interface GuardedChannel extends OutboundStream {
  receive(message: InboundMessage): void
  /** An acknowledgement came. */
  progress(): void
}

export class GuardedPeer {
  /** werift's peer connection. */
  readonly core: WeriftPeerConnection
  readonly #options: GuardedPeerOptions
  #fingerprint: Buffer | undefined
  #transport: DtlsTransport | undefined
  #ice: IceGuard | undefined
  #dtls: DtlsGuard | undefined
  #sctp: SctpGuard | undefined
  #gathering: Promise<void> | undefined

  constructor(options: GuardedPeerOptions) {
    this.#options = options
    this.core = new options.werift.RTCPeerConnection({
      certificates: [options.certificate],
      iceServers: [],
      iceTransportPolicy: options.servers.relayOnly ? 'relay' : 'all',
      bundlePolicy: 'max-bundle',
      maxMessageSize: 65_536,
    })
    this.#guardTransports()
  }

  /** werift's state of ICE, and whether a pair of addresses has been selected. */
  get ice(): { readonly state: string; readonly selected: boolean } {
    const transport = this.#transport?.iceTransport
    return { state: transport?.state ?? 'new', selected: transport?.connection.nominated !== undefined }
  }

  /** Whom to expect: to be set before the handshake begins. */
  expect(fingerprint: Buffer): void {
    this.#fingerprint = fingerprint
  }

  /** A channel has something to send. */
  wake(): void {
    this.#sctp?.wake()
  }

  /** Whether everything a channel handed over has reached the peer. */
  isDrained(channelId: number): boolean {
    return this.#sctp?.isDrained(channelId) ?? true
  }

  /** Adds a remote candidate in the form of `usableCandidate`. */
  addCandidate(candidate: string): void {
    const agent = this.#transport?.iceTransport.connection
    if (agent === undefined) return
    agent
      .addRemoteCandidate(this.#options.werift.Candidate.fromSdp(candidate))
      .catch((error: unknown) => this.#options.log('werift refused a candidate', error))
  }

  /** Ends everything at once. To be called once. */
  close(): void {
    // In this order: werift says ABORT on the association before its first await, then DTLS says close_notify, then sockets end.
    this.core.close().catch((error: unknown) => this.#options.log('werift failed to close', error))
    this.#sctp?.close()
    this.#dtls?.close()
    this.#ice?.close()
  }

  #guardTransports(): void {
    const { secureManager, sctpManager } = this.core
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
    const gather = this.core.gatherCandidates.bind(this.core)
    this.core.gatherCandidates = () => {
      this.#gathering ??= gather().then(() => this.#options.onGatheringDone())
      this.#options.onGatheringBegun()
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
        onError: this.#options.onCandidateError,
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
      const { channels } = this.#options
      this.#sctp = new SctpGuard({
        association,
        transport,
        streams: channels,
        clock: this.#options.clock,
        crc32c: this.#options.werift.crc32c,
        send: (packet) => this.#dtls?.send(packet),
        onMessage: (message) => channels.get(message.streamId)?.receive(message),
        onProgress: () => {
          for (const channel of channels.values()) channel.progress()
        },
        log: this.#options.log,
      })
      association.stateChanged.closed.subscribe(this.#options.onFailed)
    }
  }

  /** In place of werift's: resolves when the handshake is complete, rejects when it failed. */
  async #startDtls(transport: DtlsTransport): Promise<void> {
    const fingerprint = this.#fingerprint
    const ice = this.#ice
    if (fingerprint === undefined || ice === undefined || transport.localCertificate === undefined) {
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
      fingerprint,
      clock: this.#options.clock,
      send: (datagram: Buffer) => ice.send(datagram),
      onData: (plaintext: Buffer) => transport.dataReceiver?.(plaintext),
      onPeerClosed: () => {
        transport.setState('closed')
        this.#options.onFailed()
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
}

/** Random base64: every character of it is an ice-char (RFC 8839 section 5.4). */
function iceSecret(byteCount: number): string {
  return randomBytes(byteCount).toString('base64')
}
