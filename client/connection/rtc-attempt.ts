import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { RtcSignal } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { RtcConfiguration, RtcConnection, RtcDataChannel, RtcFactory, RtcIceCandidateInit } from './rtc.ts'

/**
 * One attempt at a data channel: one RTCPeerConnection, from creation to an open channel or a typed failure, and then until
 * the channel ends. An attempt is never repaired; the next one starts from nothing.
 *
 * Signals go through the link, so they come in order and only once. The description is sent before it is applied locally:
 * some stacks resolve setLocalDescription only after all candidates are gathered.
 */
export interface RtcAttemptOptions {
  readonly factory: RtcFactory
  readonly configuration: RtcConfiguration
  readonly clock: Clock
  readonly offerer: boolean
  readonly signal: (signal: RtcSignal['signal']) => void
  /** `datagrams` opens at about the same time, and shares the end of `channel`. */
  readonly onOpen: (channel: RtcDataChannel, datagrams: RtcDataChannel) => void
  /** Exactly once, whatever the cause: before or after opening. Not after close(). */
  readonly onEnd: (error: MeshError) => void
}

/** Measured: a pair that needs longer than this with working candidates never connects. */
export const RTC_TIMEOUT_MS = 10_000
const CHANNEL_ID = 0
const DATAGRAMS_ID = 1
const MAX_SDP_BYTES = 16 * 1024
/** Candidates and ends of them taken from the other side. */
const MAX_CANDIDATES = 64
/** STUN error codes of a TURN server that does not take the credentials (RFC 8656 §19, RFC 8489 §14.8). */
const TURN_REFUSALS: ReadonlySet<number> = new Set([401, 403, 437, 438, 441])

export interface CandidateCounts {
  local: number
  remote: number
}

export class RtcAttempt {
  readonly candidates: CandidateCounts = { local: 0, remote: 0 }
  readonly #options: RtcAttemptOptions
  readonly #timer: Timer
  #connection: RtcConnection | undefined
  #early: RtcIceCandidateInit[] = []
  #remoteApplied = false
  #ended = false
  #opened = false
  #turnRefused = false
  #received = 0
  /** The connection exists, or will not any more. */
  readonly #ready = Promise.withResolvers<void>()

  constructor(options: RtcAttemptOptions) {
    this.#options = options
    this.#timer = options.clock.schedule(RTC_TIMEOUT_MS, () => this.#fail(this.#timeoutCause()))
    this.#begin().catch((error: unknown) => this.#fail(toRtcError(error)))
  }

  get opened(): boolean {
    return this.#opened
  }

  /** Applies a signal of the other side, in the order they were sent. */
  receive(signal: RtcSignal['signal']): void {
    this.#receive(signal).catch((error: unknown) => this.#fail(toRtcError(error)))
  }

  /** Drops the connection. Idempotent; nothing is reported afterwards. */
  close(): void {
    this.#ended = true
    this.#timer.cancel()
    this.#connection?.close()
    this.#ready.resolve()
  }

  async #begin(): Promise<void> {
    const { factory, configuration, offerer, signal } = this.#options
    const connection = await factory.create(configuration).catch((cause: unknown) => {
      if (cause instanceof MeshError) throw cause
      throw new MeshError(ErrorReason.RTC_UNAVAILABLE, 'WebRTC refused its configuration', { cause })
    })
    if (this.#ended) return connection.close()
    this.#connection = connection
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate && candidate.candidate !== '') this.candidates.local++
      if (!this.#ended) signal({ case: 'candidate', value: toWire(candidate) })
    })
    connection.addEventListener('icecandidateerror', ({ errorCode }) => {
      if (TURN_REFUSALS.has(errorCode)) this.#turnRefused = true
    })
    connection.addEventListener('connectionstatechange', () => this.#onState(connection))
    const datagrams = { negotiated: true, id: DATAGRAMS_ID, ordered: false, maxRetransmits: 0 } as const
    this.#watch(
      connection.createDataChannel('mesh', { negotiated: true, id: CHANNEL_ID, ordered: true }),
      connection.createDataChannel('mesh-datagrams', datagrams),
    )
    this.#ready.resolve()
    if (!offerer) return
    const { sdp } = await connection.createOffer()
    if (this.#ended || !sdp) return
    signal({ case: 'offer', value: sdp })
    await connection.setLocalDescription({ type: 'offer', sdp })
  }

  async #receive(signal: RtcSignal['signal']): Promise<void> {
    await this.#ready.promise
    const connection = this.#connection
    if (!connection || this.#ended) return
    switch (signal.case) {
      case 'offer':
        return this.#answer(connection, signal.value)
      case 'answer':
        requireSdpSize(signal.value)
        await connection.setRemoteDescription({ type: 'answer', sdp: signal.value })
        return this.#applyEarly(connection)
      case 'candidate':
        return this.#addCandidate(connection, signal.value)
      case 'failure':
        return this.#fail(
          signal.value.reason === ErrorReason.RTC_UNAVAILABLE
            ? MeshError.fromDetail(signal.value)
            : this.#timeoutCause(),
        )
    }
  }

  async #answer(connection: RtcConnection, offer: string): Promise<void> {
    requireSdpSize(offer)
    await connection.setRemoteDescription({ type: 'offer', sdp: offer })
    const { sdp } = await connection.createAnswer()
    if (this.#ended || !sdp) return
    this.#options.signal({ case: 'answer', value: sdp })
    const applied = connection.setLocalDescription({ type: 'answer', sdp })
    this.#applyEarly(connection)
    await applied
  }

  #addCandidate(connection: RtcConnection, value: { candidate: string; sdpMid: string; sdpMLineIndex: number }): void {
    if (value.candidate !== '') this.candidates.remote++
    if (++this.#received > MAX_CANDIDATES) return
    const candidate = { candidate: value.candidate, sdpMid: value.sdpMid, sdpMLineIndex: value.sdpMLineIndex }
    if (!this.#remoteApplied) this.#early.push(candidate)
    else addCandidate(connection, candidate)
  }

  #applyEarly(connection: RtcConnection): void {
    this.#remoteApplied = true
    for (const candidate of this.#early) addCandidate(connection, candidate)
    this.#early = []
  }

  #watch(channel: RtcDataChannel, datagrams: RtcDataChannel): void {
    channel.binaryType = 'arraybuffer'
    datagrams.binaryType = 'arraybuffer'
    channel.addEventListener('open', () => {
      if (this.#ended || this.#opened) return
      this.#opened = true
      this.#timer.cancel()
      this.#options.onOpen(channel, datagrams)
    })
    channel.addEventListener('close', () => this.#fail(ended('the data channel closed')))
  }

  #onState(connection: RtcConnection): void {
    if (connection.connectionState === 'failed') this.#fail(this.#timeoutCause())
    if (connection.connectionState === 'closed') this.#fail(ended('the connection closed'))
  }

  #fail(error: MeshError): void {
    if (this.#ended) return
    this.close()
    this.#options.onEnd(error)
  }

  /** What kept the attempt from opening, as far as this side can tell. */
  #timeoutCause(): MeshError {
    if (this.#opened) return ended('the connection failed')
    if (this.#turnRefused) {
      return rtcError(ErrorReason.RELAY_CREDENTIALS, 'a TURN server refused the credentials, and nothing else worked')
    }
    const { local, remote } = this.candidates
    if (local === 0 || remote === 0) {
      const side = local === 0 ? 'this side' : 'the other side'
      return rtcError(ErrorReason.NO_CANDIDATES, `${side} has no ICE candidates`)
    }
    const state = this.#connection?.iceConnectionState
    if (state === 'connected' || state === 'completed') {
      return rtcError(ErrorReason.DTLS_FAILED, 'ICE connected, but the encrypted channel did not open')
    }
    return rtcError(ErrorReason.ICE_FAILED, `no pair of ${local} local and ${remote} remote candidates worked`)
  }
}

function addCandidate(connection: RtcConnection, candidate: RtcIceCandidateInit): void {
  // Not awaited (a name that does not resolve would hold the rest up), and one bad candidate must not end the attempt.
  connection.addIceCandidate(candidate).catch(() => undefined)
}

function toWire(candidate: RtcIceCandidateInit | null) {
  return {
    $typeName: 'mesh.peer.v1.IceCandidate' as const,
    candidate: candidate?.candidate ?? '',
    sdpMid: candidate?.sdpMid ?? '0',
    sdpMLineIndex: candidate?.sdpMLineIndex ?? 0,
    usernameFragment: candidate?.usernameFragment ?? '',
  }
}

function requireSdpSize(sdp: string): void {
  if (sdp.length <= MAX_SDP_BYTES) return
  throw new MeshError(ErrorReason.FRAME_INVALID, `SDP has ${sdp.length} bytes, at most ${MAX_SDP_BYTES}`, {
    limit: 'sdp_bytes',
    limitValue: MAX_SDP_BYTES,
    value: sdp.length,
  })
}

function rtcError(reason: (typeof ErrorReason)[keyof typeof ErrorReason], message: string): MeshError {
  return new MeshError(reason, message, { retryable: true })
}

function ended(message: string): MeshError {
  return rtcError(ErrorReason.ICE_FAILED, message)
}

function toRtcError(error: unknown): MeshError {
  if (error instanceof MeshError) return error
  return new MeshError(ErrorReason.DTLS_FAILED, 'WebRTC refused the description', { retryable: true, cause: error })
}
