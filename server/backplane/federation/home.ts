import type { ByteKey } from '../../byte-key.ts'

/** One server at which a peer is a member of a topic. A peer that moves, or uses several servers, has several. */
export class Home {
  readonly server: ByteKey
  /** The session its record there names. */
  readonly session: ByteKey
  /** MembershipRecord.session_order: the highest is the one to send to first. */
  readonly order: bigint

  constructor(server: ByteKey, session: ByteKey, order: bigint) {
    this.server = server
    this.session = session
    this.order = order
  }
}
