import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type {
  RtcConnection,
  RtcConnectionState,
  RtcDataChannel,
  RtcDataChannelOptions,
  RtcIceCandidateInit,
  RtcSessionDescription,
} from '../../connection/rtc.ts'
import { WeriftDataChannel } from './data-channel.ts'
import { GuardedPeer } from './guarded-peer.ts'
import type { IceServers } from './ice-options.ts'
import { Listeners } from './listeners.ts'
import { MAX_REMOTE_CANDIDATES, usableCandidate } from './remote-candidate.ts'
import { readRemoteDescription } from './session-description.ts'
import type { WeriftCertificate, WeriftModule } from './werift-internals.ts'

/**
 * One peer connection as the W3C describes it, over werift's.
 *
 * Remote descriptions and candidates are rewritten before werift reads them (`session-description.ts`, `remote-candidate.ts`);
 * what happens on the network is in `guarded-peer.ts`.
 *
 * setLocalDescription resolves at once and candidates follow as events; werift waits for all of them.
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

/** Channels of one connection. The SDK uses two. */
const MAX_CHANNELS = 64

export class WeriftConnection implements RtcConnection {
  readonly #options: ConnectionOptions
  readonly #peer: GuardedPeer
  readonly #listeners: Listeners<ConnectionEvents>
  readonly #channels = new Map<number, WeriftDataChannel>()
  #state: RtcConnectionState = 'new'
  #negotiated = false
  #remoteApplied = false
  #candidates: string[] = []
  #candidateCount = 0
  #deadline: Timer | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#listeners = new Listeners((error) => options.log('A connection listener threw', error))
    this.#peer = new GuardedPeer({
      ...options,
      channels: this.#channels,
      onGatheringBegun: () => this.#startDeadline(),
      onGatheringDone: () => this.#listeners.emit('icecandidate', { candidate: null }),
      onCandidateError: (errorCode, errorText) => this.#listeners.emit('icecandidateerror', { errorCode, errorText }),
      onFailed: () => this.#setState('failed'),
    })
    const { core } = this.#peer
    core.secureManager.onIceCandidate.subscribe((candidate) => this.#announce(candidate.toJSON()))
    core.connectionStateChange.subscribe((state) => this.#setState(state as RtcConnectionState))
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
    const { state, selected } = this.#peer.ice
    if (this.#state === 'failed' && !selected) return 'failed'
    return state === 'completed' ? 'connected' : state
  }

  /**
   * Creates a negotiated channel. What is lost is repeated on every one of them, whatever `maxRetransmits` asks for; in one that
   * is not ordered, nothing else waits for it.
   * @throws MeshError INVALID_ARGUMENT for a label that is not printable ASCII of at most 255 characters, an id outside
   *   0–65534 or in use; LIMIT_EXCEEDED above 64 channels; LINK_CLOSED after close().
   */
  createDataChannel(label: string, options: RtcDataChannelOptions): RtcDataChannel {
    this.#requireOpen()
    if (!/^[\x20-\x7e]{0,255}$/.test(label)) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        'A channel label must be printable ASCII, at most 255 characters',
      )
    }
    const { id, ordered } = options
    if (!options.negotiated) {
      throw new MeshError(ErrorReason.NOT_SUPPORTED, 'Only negotiated channels are supported')
    }
    if (!Number.isInteger(id) || id < 0 || id > 65_534 || this.#channels.has(id)) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `Channel id ${id} is out of range or in use`)
    }
    if (this.#channels.size >= MAX_CHANNELS) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many channels on one connection', {
        limitValue: MAX_CHANNELS,
      })
    }
    const core = this.#peer.core.createDataChannel(label, { negotiated: true, id, ordered })
    const channel = new WeriftDataChannel({
      id,
      ordered,
      core,
      clock: this.#options.clock,
      log: this.#options.log,
      wake: () => this.#peer.wake(),
      isDrained: () => this.#peer.isDrained(id),
    })
    this.#channels.set(id, channel)
    channel.addEventListener('close', () => this.#channels.delete(id))
    return channel
  }

  createOffer(): Promise<{ type: string; sdp?: string }> {
    return this.#whileOpen(() => this.#peer.core.createOffer())
  }

  createAnswer(): Promise<{ type: string; sdp?: string }> {
    return this.#whileOpen(() => this.#peer.core.createAnswer())
  }

  async setLocalDescription(description: RtcSessionDescription): Promise<void> {
    await this.#whileOpen(() => this.#peer.core.setLocalDescription(description))
  }

  /** @throws MeshError DTLS_FAILED or INVALID_ARGUMENT for a description that is not acceptable; see `readRemoteDescription`. */
  async setRemoteDescription(description: RtcSessionDescription): Promise<void> {
    this.#requireOpen()
    if (this.#negotiated) {
      // An ICE restart of werift's dies silently; the SDK replaces connections instead.
      throw new MeshError(ErrorReason.NOT_SUPPORTED, 'A connection is negotiated once; make a new one instead')
    }
    const remote = readRemoteDescription(description)
    this.#peer.expect(remote.fingerprint)
    this.#negotiated = true
    await this.#whileOpen(() => this.#peer.core.setRemoteDescription({ type: remote.type, sdp: remote.sdp }))
    this.#remoteApplied = true
    const waiting = [...remote.candidates, ...this.#candidates]
    this.#candidates = []
    for (const candidate of waiting) this.#peer.addCandidate(candidate)
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
    if (this.#remoteApplied) this.#peer.addCandidate(candidate)
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
    this.#peer.close()
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
