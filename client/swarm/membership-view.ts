import { decideRecord, ErrorReason, equalBytes, MeshError, toHex, type VerifiedRecord } from '@mesh/core'
import { MembershipKind, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import {
  type Departure,
  DepartureReason,
  type JoinResponse,
  type MembersEvent,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { supersedes } from '../connection/record-order.ts'
import { sameProcess } from '../signal/session-order.ts'

/**
 * One topic as this client believes one server: the members whose own signed records say so. The server only proposes; every
 * record is verified here, the highest seq of a session wins, and a departure counts only for the session it names. A peer that
 * is joined at several servers has a session at each: which of them a server shows, of one process, is the server's to say.
 *
 * Join answers and events travel separately, so an answer may describe the topic as it was before an event that is already
 * handled; the topic's revision tells. What an event newer than the answer said of a peer, the answer does not change.
 */
export type MemberChange =
  | { readonly kind: 'joined' | 'updated'; readonly record: VerifiedRecord }
  | {
      readonly kind: 'left'
      readonly record: VerifiedRecord
      /** The peer's own signed LEAVE, when it said so itself. */
      readonly leave: VerifiedRecord | undefined
      readonly reason: DepartureReason
    }
  /** A complete answer to a Join does not mention it: gone, or not back yet at a server that restarted. */
  | { readonly kind: 'missing'; readonly record: VerifiedRecord }

export interface MembershipViewOptions {
  readonly ownKey: Uint8Array
  /** Verifies a record of this topic; rejects with the reason. */
  readonly verify: (record: SignedRecord, kind: MembershipKind) => Promise<VerifiedRecord>
  /** A record that proves nothing, or proves equivocation. */
  readonly onRejected: (error: MeshError) => void
}

/** Above any sample a server returns; a topic's further members are not this client's business. */
const MAX_MEMBERS = 1_024
const MAX_DEPARTED = 1_024

export class MembershipView {
  readonly #options: MembershipViewOptions
  readonly #members = new Map<string, VerifiedRecord>()
  /** Revision at which each member was heard of last. */
  readonly #revisions = new Map<string, bigint>()
  readonly #departed = new Map<string, { revision: bigint; seq: bigint }>()

  constructor(options: MembershipViewOptions) {
    this.#options = options
  }

  get members(): ReadonlyMap<string, VerifiedRecord> {
    return this.#members
  }

  /**
   * Takes the answer to a Join. One that is complete (no sample) also tells who is missing.
   */
  async applyJoin({ members, revision, memberCount }: JoinResponse): Promise<MemberChange[]> {
    const changes: MemberChange[] = []
    const present = new Set<string>()
    for (const signed of members) {
      const record = await this.#verify(signed, MembershipKind.JOIN)
      if (!record) continue
      const name = toHex(record.record.peerKey)
      const departed = this.#departed.get(name)
      if (departed && departed.revision > revision) continue
      present.add(name)
      this.#put(record, revision, changes)
    }
    if (members.length + 1 >= memberCount) {
      for (const [name, record] of [...this.#members]) {
        if (present.has(name) || (this.#revisions.get(name) ?? 0n) > revision) continue
        this.#delete(name)
        changes.push({ kind: 'missing', record })
      }
    }
    return changes
  }

  async applyEvent({ joined, updated, left, revision }: MembersEvent): Promise<MemberChange[]> {
    const changes: MemberChange[] = []
    for (const departure of left) await this.#depart(departure, revision, changes)
    for (const signed of [...joined, ...updated]) {
      const record = await this.#verify(signed, MembershipKind.JOIN)
      if (record) this.#put(record, revision, changes)
    }
    return changes
  }

  /** Takes out a peer that said goodbye on its link; its next record brings it back. */
  remove(peerKey: Uint8Array): void {
    this.#delete(toHex(peerKey))
  }

  /** Takes out what expired without a word. */
  expire(nowMs: number): MemberChange[] {
    const changes: MemberChange[] = []
    for (const [name, record] of this.#members) {
      if (record.expiresAtMs > nowMs) continue
      this.#delete(name)
      changes.push({ kind: 'left', record, leave: undefined, reason: DepartureReason.EXPIRED })
    }
    return changes
  }

  /** Takes everybody out: the server is out of reach for good, or for so long that what it said counts no more. */
  clear(): MemberChange[] {
    const records = [...this.#members.values()]
    this.#members.clear()
    this.#revisions.clear()
    return records.map((record) => ({ kind: 'left', record, leave: undefined, reason: DepartureReason.SERVER_LOST }))
  }

  /** A peer said at another server that it left: that holds for its sessions up to the one that said so. */
  outlaw({ record: leave }: VerifiedRecord): void {
    const name = toHex(leave.peerKey)
    const current = this.#members.get(name)?.record
    if (!current || current.seq > leave.seq || current.sessionOrder > leave.sessionOrder) return
    this.#remember(name, this.#revisions.get(name) ?? 0n, leave.seq)
    this.#delete(name)
  }

  #put(record: VerifiedRecord, revision: bigint, changes: MemberChange[]): void {
    const name = toHex(record.record.peerKey)
    const departed = this.#departed.get(name)
    if (departed && record.record.seq <= departed.seq) return
    const current = this.#members.get(name)
    if (!current && this.#members.size >= MAX_MEMBERS) return
    const decision = decideShown(current, record, revision >= (this.#revisions.get(name) ?? 0n))
    if (decision === 'equivocation') return this.#options.onRejected(equivocation(record))
    if (decision === 'stale') return
    if (revision > (this.#revisions.get(name) ?? 0n)) this.#revisions.set(name, revision)
    if (decision === 'same') return
    this.#members.set(name, record)
    changes.push({ kind: current ? 'updated' : 'joined', record })
  }

  async #depart(departure: Departure, revision: bigint, changes: MemberChange[]): Promise<void> {
    const name = toHex(departure.peerKey)
    const current = this.#members.get(name)
    const leave = departure.record && (await this.#verify(departure.record, MembershipKind.LEAVE))
    const said = leave !== undefined && equalBytes(leave.record.peerKey, departure.peerKey)
    // Only the peer's own LEAVE outlaws its older records; without one, a record it still signs may come back.
    this.#remember(name, revision, said ? leave.record.seq : 0n)
    if (!current || !equalBytes(current.record.sessionId, departure.sessionId)) return
    if (said && leave.record.seq < current.record.seq) return
    this.#delete(name)
    changes.push({ kind: 'left', record: current, leave: said ? leave : undefined, reason: departure.reason })
  }

  #delete(name: string): void {
    this.#members.delete(name)
    this.#revisions.delete(name)
  }

  #remember(name: string, revision: bigint, seq: bigint): void {
    const known = this.#departed.get(name)?.seq ?? 0n
    this.#departed.delete(name)
    this.#departed.set(name, { revision, seq: seq > known ? seq : known })
    if (this.#departed.size <= MAX_DEPARTED) return
    for (const oldest of this.#departed.keys()) {
      this.#departed.delete(oldest)
      break
    }
  }

  async #verify(signed: SignedRecord, kind: MembershipKind): Promise<VerifiedRecord | undefined> {
    try {
      const record = await this.#options.verify(signed, kind)
      return equalBytes(record.record.peerKey, this.#options.ownKey) ? undefined : record
    } catch (error) {
      this.#options.onRejected(MeshError.from(error))
      return undefined
    }
  }
}

/**
 * As decideRecord; but another session of the same process may be shown instead of the current one whatever their seqs, if
 * the server shows it now (`isNews`) and not in an answer that is older.
 */
function decideShown(
  current: VerifiedRecord | undefined,
  next: VerifiedRecord,
  isNews: boolean,
): ReturnType<typeof decideRecord> {
  if (!current || equalBytes(current.record.sessionId, next.record.sessionId)) return decideRecord(current, next)
  if (current.record.seq === next.record.seq) return 'equivocation'
  const isLater = sameProcess(current.record.sessionOrder, next.record.sessionOrder)
    ? isNews
    : supersedes(next.record, current.record)
  return isLater ? 'newer' : 'stale'
}

function equivocation({ record }: VerifiedRecord): MeshError {
  const message = 'a peer signed two different records with the same seq'
  return new MeshError(ErrorReason.RECORD_EQUIVOCATION, message, { value: record.seq })
}
