import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkChannel } from '../link/index.ts'
import type { Peer } from './peer.ts'

/**
 * A named channel to one peer: ordered bytes both ways, or ordered messages when opened with `kind: 'messages'`.
 *
 * Writing waits while the other side does not read (credit per channel), so a slow reader costs neither side memory. Closing
 * `writable` ends this direction only; `abort` ends both at once. When the link is lost the streams fail with its error.
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

  get readable(): ReadableStream<Uint8Array> {
    return this.#inner.readable
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#inner.writable
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
