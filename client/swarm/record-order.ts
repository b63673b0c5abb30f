import type { MembershipRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { sameProcess } from '../signal/session-order.ts'

/**
 * How the records of one peer in one topic relate. A peer signs one for each of its servers, each with a session of its own; the
 * seq rises across all of them.
 */
type Ordered = Pick<MembershipRecord, 'seq' | 'sessionOrder'>

/** Whether `next` is the later word of the peer: of a later process, or later from the same one. */
export function supersedes(next: Ordered, current: Ordered): boolean {
  if (!sameProcess(next.sessionOrder, current.sessionOrder)) return next.sessionOrder > current.sessionOrder
  return next.seq > current.seq
}

/** Whether the peer is to be reached by `next` rather than by `current`: the session it opened last, by its latest record. */
export function isPreferred(next: Ordered, current: Ordered): boolean {
  if (next.sessionOrder !== current.sessionOrder) return next.sessionOrder > current.sessionOrder
  return next.seq > current.seq
}
