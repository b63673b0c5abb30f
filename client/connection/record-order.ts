import { equalBytes } from '@mesh/core'
import type { MembershipRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { sameProcess } from '../signal/session-order.ts'

/**
 * How the records of one peer in one topic relate. A process of the peer has a session at each of its servers, and signs a record
 * for each: session orders count the sessions, and the seq rises across all of its records.
 */
type Ordered = Pick<MembershipRecord, 'seq' | 'sessionOrder' | 'sessionId'>

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

/**
 * Whether `current` stays what the peer is reached by when `next` is proposed. Under which of its sessions a process is reached
 * is for the directory, and for the peer itself, to say.
 */
export function outlasts(current: Ordered, next: Ordered): boolean {
  if (!sameProcess(next.sessionOrder, current.sessionOrder)) return next.sessionOrder < current.sessionOrder
  return equalBytes(next.sessionId, current.sessionId) && next.seq < current.seq
}

/**
 * Whether a signal that shows `next` comes too late: a server held it, or the directory has overtaken it, and the peer has that
 * session no more. Within one process that is an earlier session, by an earlier record, that no server lists (`isListed`).
 */
export function isOutdated(next: Ordered, current: Ordered, isListed: () => boolean): boolean {
  if (!sameProcess(next.sessionOrder, current.sessionOrder)) return next.sessionOrder < current.sessionOrder
  return next.sessionOrder < current.sessionOrder && next.seq < current.seq && !isListed()
}
