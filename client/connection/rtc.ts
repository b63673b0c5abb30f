/**
 * The part of WebRTC the SDK uses, so that the browser's own RTCPeerConnection, the hardened werift adapter and any other
 * implementation of the same shape can be injected. Names and meanings are those of the W3C specification.
 */
export interface RtcFactory {
  /** Makes one connection. May load code on first use. Rejects with RTC_UNAVAILABLE where WebRTC does not exist. */
  create(configuration: RtcConfiguration): Promise<RtcConnection>
  /** Optional: prepares what is slow (certificates, code) ahead of the first dial. */
  warm?(): Promise<void>
}

export interface RtcConfiguration {
  readonly iceServers: readonly RtcIceServer[]
  /** 'relay' uses TURN candidates only. Default 'all'. */
  readonly iceTransportPolicy?: 'all' | 'relay'
}

export interface RtcIceServer {
  readonly urls: string | string[]
  readonly username?: string
  readonly credential?: string
}

export interface RtcSessionDescription {
  readonly type: 'offer' | 'answer'
  readonly sdp: string
}

export interface RtcIceCandidateInit {
  readonly candidate: string
  readonly sdpMid?: string | null
  readonly sdpMLineIndex?: number | null
  readonly usernameFragment?: string | null
}

export type RtcConnectionState = 'new' | 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed'

export interface RtcConnection {
  readonly connectionState: RtcConnectionState
  /** RTCIceConnectionState; tells a failure of ICE from one of DTLS. */
  readonly iceConnectionState: string
  createDataChannel(label: string, options: RtcDataChannelOptions): RtcDataChannel
  createOffer(): Promise<{ type: string; sdp?: string }>
  createAnswer(): Promise<{ type: string; sdp?: string }>
  /** Resolves when the description is applied; candidates follow as 'icecandidate' events. */
  setLocalDescription(description: RtcSessionDescription): Promise<void>
  setRemoteDescription(description: RtcSessionDescription): Promise<void>
  addIceCandidate(candidate: RtcIceCandidateInit): Promise<void>
  addEventListener(type: 'icecandidate', listener: (event: { candidate: RtcIceCandidateInit | null }) => void): void
  addEventListener(type: 'connectionstatechange', listener: () => void): void
  addEventListener(type: 'icecandidateerror', listener: (event: { errorCode: number; errorText: string }) => void): void
  /** Ends everything at once; queued data is lost. Idempotent. */
  close(): void
}

/** Of RTCDataChannelInit, what the SDK uses. */
export interface RtcDataChannelOptions {
  readonly negotiated: true
  readonly id: number
  readonly ordered: boolean
  /** 0 where loss is better than delay. A stack that cannot do without repeating may repeat. */
  readonly maxRetransmits?: number
}

export interface RtcDataChannel {
  binaryType: string
  readonly readyState: 'connecting' | 'open' | 'closing' | 'closed'
  /** Bytes accepted by send() and not yet handed to the network. */
  readonly bufferedAmount: number
  bufferedAmountLowThreshold: number
  /** Throws when the channel is not open. Messages are 1 byte to 64 KiB. */
  send(data: Uint8Array): void
  /** Optional: as `send`, and the bytes belong to the channel from then on, so that it need not copy them. */
  sendOwned?(data: Uint8Array): void
  close(): void
  addEventListener(type: 'open' | 'close' | 'bufferedamountlow', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'error', listener: (event: unknown) => void): void
}
