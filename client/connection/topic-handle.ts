import { equalBytes, type MeshError, type VerifiedRecord } from '@mesh/core'
import type { MembershipRecord, SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { LinkChannel } from '../link/index.ts'
import type { Admission } from './admission.ts'
import type { HandshakeSelf } from './handshake.ts'
import type { PeerConnection } from './peer-connection.ts'

/**
 * What the relay path, through the signaling server, is used for in a swarm:
 *
 *  - 'fallback': whenever there is no direct path. From the first moment on, until WebRTC connects, and again when it breaks.
 *  - 'only': always. No WebRTC is tried, so the others do not learn this peer's network addresses. A link that is shared with
 *    a swarm that allows direct paths may be direct all the same.
 *  - 'never': for agreeing on the link and negotiating WebRTC only. What the application sends waits for a direct path, and
 *    channels end with LINK_CLOSED when it breaks. Holds for both sides as soon as one of them says so.
 */
export type RelayUse = 'fallback' | 'only' | 'never'

/** What a swarm gives the connections, and what it hears from them. One per topic the client has joined. */
export interface TopicHandle {
  /** The topic in hexadecimal: key of every map. */
  readonly name: string
  readonly topic: Uint8Array
  readonly admission: Admission
  readonly relay: RelayUse
  /** Undefined while the swarm has no session to be reached under. */
  self(): HandshakeSelf | undefined
  /** Verifies a JOIN record of this topic against the clock and the limits in force. */
  verify(record: SignedRecord): Promise<VerifiedRecord>
  /** What the servers list of the peer: one record for each of its sessions, the one to reach it by first. */
  records(peerKey: Uint8Array): readonly VerifiedRecord[]
  /** Whether the application allows a direct path with that peer, in a swarm that does. */
  allowsDirect(peerKey: Uint8Array): boolean
  /** Whether the swarm has room for a link the other side asks for. */
  accepts(record: VerifiedRecord): boolean
  /** The peer is admitted on this link: channels may open, both ways. `directOnly`: and carry data on the direct path only. */
  attached(connection: PeerConnection, record: VerifiedRecord, directOnly: boolean): void
  /** The topic is off the link, or the link is gone. */
  detached(connection: PeerConnection, error: MeshError): void
  /** The other peer opened a channel of this topic; only after `attached`. */
  channel(connection: PeerConnection, channel: LinkChannel): void
  /** Path, round-trip time or state of the connection changed. */
  changed(connection: PeerConnection): void
  /** The other peer's process is a new one: what the old one had not acknowledged is undelivered, and its sends have failed. */
  restarted(connection: PeerConnection): void
}

/** Whether a server lists the peer under the session of this record. */
export function lists(
  handle: TopicHandle,
  { peerKey, sessionId }: Pick<MembershipRecord, 'peerKey' | 'sessionId'>,
): boolean {
  return handle.records(peerKey).some(({ record }) => equalBytes(record.sessionId, sessionId))
}
