import { toHex, type VerifiedRecord } from '@mesh/core'
import { isPreferred } from '../connection/record-order.ts'
import type { MemberChange, MembershipView } from './membership-view.ts'

/**
 * One topic as several servers show it. A peer is a member while at least one of them lists it, and is reached by the best of
 * its records; what each server says is merged change by change.
 */
export class MergedView {
  readonly #views = new Set<MembershipView>()
  readonly #members = new Map<string, VerifiedRecord>()

  /** The record to reach each member by, by key in hexadecimal. */
  get members(): ReadonlyMap<string, VerifiedRecord> {
    return this.#members
  }

  /** A server more. Its members are merged as it tells of them. */
  add(view: MembershipView): void {
    this.#views.add(view)
  }

  /** A server less: its members leave, unless another one lists them. */
  remove(view: MembershipView): MemberChange[] {
    const changes = view.clear()
    this.#views.delete(view)
    return this.merge(changes)
  }

  /** Takes in what became different at one server; gives what is different for it at all. */
  merge(changes: readonly MemberChange[]): MemberChange[] {
    return changes.flatMap((change) => {
      if (change.kind === 'left' && change.leave) for (const view of this.#views) view.outlaw(change.leave)
      return this.#mergeOne(change) ?? []
    })
  }

  /** What the servers list of a peer, the record to reach it by first. */
  records(peerKey: Uint8Array): VerifiedRecord[] {
    return this.#records(toHex(peerKey))
  }

  /** Takes out a peer that said goodbye on its link; its next record brings it back. */
  forget(peerKey: Uint8Array): void {
    for (const view of this.#views) view.remove(peerKey)
    this.#members.delete(toHex(peerKey))
  }

  #mergeOne(change: MemberChange): MemberChange | undefined {
    const name = toHex(change.record.record.peerKey)
    const before = this.#members.get(name)
    const [after] = this.#records(name)
    if (!after) {
      this.#members.delete(name)
      const isGone = change.kind === 'left' || change.kind === 'missing'
      return before && isGone ? { ...change, record: before } : undefined
    }
    this.#members.set(name, after)
    if (!before) return { kind: 'joined', record: after }
    if (change.kind === 'joined' || change.kind === 'updated') return { kind: 'updated', record: change.record }
    return after === before ? undefined : { kind: 'updated', record: after }
  }

  #records(name: string): VerifiedRecord[] {
    const records = [...this.#views].flatMap((view) => view.members.get(name) ?? [])
    return records.sort((a, b) => (isPreferred(a.record, b.record) ? -1 : 1))
  }
}
