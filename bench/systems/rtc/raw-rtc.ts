/**
 * The reference for everything MESH adds on top of WebRTC: two connections, one negotiated data channel, the shortest
 * signaling there is, no identities, no encryption of our own. Runs in Node (werift) and in the browser (its own WebRTC).
 */

/** What this file uses of an RTCPeerConnection; the browser's, stock werift's and the SDK's hardened adapter all have it. */
export interface RawConnection {
  createDataChannel(label: string, options: { negotiated: true; id: number; ordered: true }): RawChannel
  createOffer(): Promise<{ type: string; sdp?: string }>
  createAnswer(): Promise<{ type: string; sdp?: string }>
  setLocalDescription(description: RawDescription): Promise<unknown>
  setRemoteDescription(description: RawDescription): Promise<unknown>
  addIceCandidate(candidate: RawCandidate): Promise<unknown>
  addEventListener(
    type: 'icecandidate',
    listener: (event: { candidate?: RawCandidate | null | undefined }) => void,
  ): void
  close(): unknown
}

export interface RawChannel {
  binaryType: string
  readonly bufferedAmount: number
  bufferedAmountLowThreshold: number
  send(data: Uint8Array): void
  addEventListener(type: 'open' | 'bufferedamountlow', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
}

export interface RawDescription {
  readonly type: 'offer' | 'answer'
  readonly sdp: string
}

export interface RawCandidate {
  readonly candidate?: string
  readonly sdpMid?: string | null
  readonly sdpMLineIndex?: number | null
}

export type RawSignal =
  | { readonly kind: 'description'; readonly description: RawDescription }
  | { readonly kind: 'candidate'; readonly candidate: RawCandidate }

/** Carries signals to the other side, in order. */
export interface RawSignaling {
  send(signal: RawSignal): void
  /** Called once, before anything is received. */
  receive(listener: (signal: RawSignal) => void): void
}

export type RawRtc = () => Promise<RawConnection>

export interface RawPeer {
  readonly channel: RawChannel
  close(): void
}

export interface RawPeerOptions {
  readonly rtc: RawRtc
  readonly signaling: RawSignaling
  /** The offering side goes first, the other waits for the offer. */
  readonly side: 'offer' | 'answer'
  /** Attached before the channel opens: the first message may share a packet with what opens it. */
  readonly message?: (data: unknown) => void
}

/** Starts one side; resolves when its channel is open. */
export async function connectRaw({ rtc, signaling, side, message }: RawPeerOptions): Promise<RawPeer> {
  const connection = await rtc()
  const channel = connection.createDataChannel('bench', { negotiated: true, id: 0, ordered: true })
  channel.binaryType = 'arraybuffer'
  if (message) channel.addEventListener('message', ({ data }) => message(data))
  const opened = new Promise<void>((resolve) => channel.addEventListener('open', resolve))
  const negotiation = new Negotiation(connection, signaling)
  if (side === 'offer') await negotiation.offer()
  await opened
  return { channel, close: () => void connection.close() }
}

class Negotiation {
  readonly #connection: RawConnection
  readonly #signaling: RawSignaling
  /** Candidates that came before the description they belong to; undefined once that is applied. */
  #early: RawCandidate[] | undefined = []

  constructor(connection: RawConnection, signaling: RawSignaling) {
    this.#connection = connection
    this.#signaling = signaling
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (!candidate?.candidate) return
      const { sdpMid = null, sdpMLineIndex = null } = candidate
      signaling.send({ kind: 'candidate', candidate: { candidate: candidate.candidate, sdpMid, sdpMLineIndex } })
    })
    signaling.receive((signal) => {
      if (signal.kind === 'description') void this.#accept(signal.description)
      else if (this.#early) this.#early.push(signal.candidate)
      else void connection.addIceCandidate(signal.candidate)
    })
  }

  async offer(): Promise<void> {
    this.#announce(await this.#connection.createOffer(), 'offer')
  }

  async #accept(description: RawDescription): Promise<void> {
    await this.#connection.setRemoteDescription(description)
    for (const candidate of this.#early ?? []) void this.#connection.addIceCandidate(candidate)
    this.#early = undefined
    if (description.type === 'offer') this.#announce(await this.#connection.createAnswer(), 'answer')
  }

  /** The description leaves before it is applied: werift resolves `setLocalDescription` only when gathering is over. */
  #announce(created: { sdp?: string }, type: 'offer' | 'answer'): void {
    const description: RawDescription = { type, sdp: created.sdp ?? '' }
    this.#signaling.send({ kind: 'description', description })
    void this.#connection.setLocalDescription(description)
  }
}

/** Signals for one side, kept until that side listens: its connection may take a while to make. */
export class SignalInbox {
  #early: RawSignal[] = []
  #listener: ((signal: RawSignal) => void) | undefined

  deliver(signal: RawSignal): void {
    if (this.#listener) this.#listener(signal)
    else this.#early.push(signal)
  }

  listen(listener: (signal: RawSignal) => void): void {
    this.#listener = listener
    for (const signal of this.#early.splice(0)) listener(signal)
  }
}

/** Both ends of a signaling path inside one process: each signal arrives in its own turn, as from a network. */
export function inProcessSignaling(): [RawSignaling, RawSignaling] {
  const inboxes = [new SignalInbox(), new SignalInbox()] as const
  const end = (own: SignalInbox, other: SignalInbox): RawSignaling => ({
    send: (signal) => void setTimeout(() => other.deliver(signal), 0),
    receive: (listener) => own.listen(listener),
  })
  return [end(inboxes[0], inboxes[1]), end(inboxes[1], inboxes[0])]
}
