import type { MeshError } from '@mesh/core'
import type { Envelope, MembersEvent, NoticeEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { SignalSession } from './session.ts'

/**
 * One signaling server, for as long as the client wants it. What is wanted is a session with an open stream; SignalClient
 * compares that with what is, and moves, with backoff and full jitter:
 *
 *   connecting ── session opened, first event ──▶ connected
 *       ▲                                             │ stream ends, server lost, token expired
 *       └──────── backoff over ──── waiting ◀─────────┘
 *
 * and, from any state, to closed: by close(), because a newer session of the same peer took over, or because the server
 * refuses this client for good before it ever was connected.
 */
export type SignalState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected'; readonly session: SignalSession }
  | { readonly kind: 'waiting'; readonly error: MeshError }
  | { readonly kind: 'closed'; readonly error: MeshError | undefined }

export interface SignalEvents {
  /** There is a new session: memberships must be joined again. Its stream is being opened meanwhile. */
  opened(): void
  /** The stream is up. `fresh`: for the first time in this session. */
  connected(fresh: boolean): void
  members(event: MembersEvent): void
  message(envelope: Envelope): void
  /** Events were lost: join again and compare. */
  gap(): void
  /** The server stops soon, or is stopping. */
  draining(notice: NoticeEvent): void
  /** Every change of state. */
  state(state: SignalState): void
}
