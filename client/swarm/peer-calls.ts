import type { ChannelType } from './channel.ts'

// Options of what can be asked of a peer.

export interface SendOptions {
  /** Gives up. A message whose first byte has left may still arrive. */
  readonly signal?: AbortSignal
}

export interface RequestOptions extends SendOptions {
  /** How long to wait for the answer; default 30,000. */
  readonly timeoutMs?: number
}

export interface OpenChannelOptions extends SendOptions {
  /**
   * 'bytes' (default) does not keep boundaries; 'messages' does, up to 16 MiB each; 'datagrams' are messages of at most 1,024
   * bytes that arrive once or not at all, in any order: for what is worth nothing late.
   */
  readonly kind?: ChannelType
}
