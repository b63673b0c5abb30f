import { ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { LinkChannel } from '../link/index.ts'
import type { Peer } from './peer.ts'

/** What a channel carries: see OpenChannelOptions.kind. */
export type ChannelType = 'bytes' | 'messages' | 'datagrams'

export const CHANNEL_KINDS: Readonly<Record<ChannelType, ChannelKind>> = {
  bytes: ChannelKind.BYTES,
  messages: ChannelKind.MESSAGES,
  datagrams: ChannelKind.DATAGRAMS,
}

/**
 * A named channel to one peer: ordered bytes both ways, ordered messages when opened with `kind: 'messages'`, or datagrams.
 *
 * Writing waits while the other side does not read (credit per channel), so a slow reader costs neither side memory. Closing
 * `writable` ends this direction only; `abort` ends both at once. When the link is lost the streams fail with its error.
 *
 * Datagrams never wait: they leave at once or are dropped, may be lost on the way, and the oldest give way where the reader is
 * slow. On the direct path they travel beside everything else, so that neither holds the other up.
 */
export class Channel {
  readonly peer: Peer
  readonly #inner: LinkChannel

  constructor(peer: Peer, inner: LinkChannel) {
    this.peer = peer
    this.#inner = inner
  }

  get name(): string {
    return this.#inner.name
  }

  get kind(): ChannelType {
    return (
      (Object.keys(CHANNEL_KINDS) as ChannelType[]).find((kind) => CHANNEL_KINDS[kind] === this.#inner.kind) ?? 'bytes'
    )
  }

  /** In a channel of messages or datagrams, one per chunk. */
  get readable(): ReadableStream<Uint8Array> {
    return this.#inner.readable
  }

  /** In a channel of messages or datagrams, one per chunk. */
  get writable(): WritableStream<Uint8Array> {
    return this.#inner.writable
  }

  /**
   * Sends one datagram of 1 to 1,024 bytes, copied. False when it was dropped, because there is no path now or no room on it.
   * Throws MESSAGE_TOO_LARGE; INVALID_ARGUMENT in a channel of another kind; CHANNEL_CLOSED, or why the channel ended.
   */
  sendDatagram(bytes: Uint8Array): boolean {
    return this.#inner.sendDatagram(bytes)
  }

  /** Settles when the channel is over: undefined after both sides ended it, otherwise the error. Never rejects. */
  get closed(): Promise<MeshError | undefined> {
    return this.#inner.closed
  }

  /** Ends this direction; resolves when the other side has everything. */
  close(): Promise<void> {
    return this.#inner.end()
  }

  /** Ends both directions now; the other side sees the error. */
  abort(reason?: MeshError): void {
    this.#inner.reset(reason ?? new MeshError(ErrorReason.CHANNEL_CLOSED, 'the channel was aborted'))
  }
}
