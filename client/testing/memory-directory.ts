import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { fromHex, toHex } from '@mesh/core'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason, type MembersEventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { MemorySession } from './memory-session.ts'

/** A membership: a session of a peer in a topic. A peer has one at each server it is joined at. */
interface Seat {
  readonly session: MemorySession
  readonly record: SignedRecord
  readonly order: bigint
}

type Change = MessageInitShape<typeof MembersEventSchema>

/**
 * Who is in which topic. Of one server, or shared by several, which then show the same members as federated servers do: a peer
 * that is joined at two of them is one member, shown by its highest session order, and leaves when it left both.
 */
export class MemoryDirectory {
  /** Changes what a session is told. */
  tamper: (records: SignedRecord[], to: Uint8Array) => SignedRecord[] = (records) => records
  readonly #topics = new Map<string, Map<string, Seat[]>>()
  #revision = 0n

  get revision(): bigint {
    return this.#revision
  }

  /** Takes a seat, in place of the one the peer had at the same server. Gives the topic in hexadecimal. */
  join(session: MemorySession, record: SignedRecord): string {
    const { topic: bytes, sessionOrder } = fromBinary(MembershipRecordSchema, record.record)
    const topic = toHex(bytes)
    const before = this.#shown(topic, session.peerKey)
    const others = this.seats(topic, session.peerKey).filter((seat) => seat.session.server !== session.server)
    this.#setSeats(topic, session.peerKey, [...others, { session, record, order: sessionOrder }])
    this.#announce(topic, session.peerKey, before, {})
    return topic
  }

  /** Gives a seat up, in one topic or in all. `record`: the peer's own LEAVE. */
  leave(session: MemorySession, reason: DepartureReason, topic?: string, record?: SignedRecord): void {
    for (const name of topic === undefined ? [...this.#topics.keys()] : [topic]) {
      const before = this.#shown(name, session.peerKey)
      const seats = this.seats(name, session.peerKey)
      if (!seats.some((seat) => seat.session === session)) continue
      this.#setSeats(
        name,
        session.peerKey,
        seats.filter((seat) => seat.session !== session),
      )
      this.#announce(name, session.peerKey, before, { reason, record })
    }
  }

  seats(topic: string, peerKey: Uint8Array): readonly Seat[] {
    return this.#topics.get(topic)?.get(toHex(peerKey)) ?? []
  }

  /** The records of a topic's members but one, as that one is shown them. */
  others(topic: string, than: Uint8Array): { members: SignedRecord[]; memberCount: number } {
    const peers = [...(this.#topics.get(topic)?.keys() ?? [])]
    const shown = peers.filter((name) => name !== toHex(than)).map((name) => this.#shown(topic, fromHex(name)) as Seat)
    const members = shown.map(({ record }) => record)
    return { members: this.tamper(members, than), memberCount: peers.length }
  }

  #shown(topic: string, peerKey: Uint8Array): Seat | undefined {
    return [...this.seats(topic, peerKey)].sort((a, b) => (a.order < b.order ? 1 : -1))[0]
  }

  #setSeats(topic: string, peerKey: Uint8Array, seats: Seat[]): void {
    const members = this.#topics.get(topic) ?? new Map<string, Seat[]>()
    this.#topics.set(topic, members)
    if (seats.length > 0) members.set(toHex(peerKey), seats)
    else members.delete(toHex(peerKey))
  }

  #announce(
    topic: string,
    peerKey: Uint8Array,
    before: Seat | undefined,
    departure: { reason?: DepartureReason; record?: SignedRecord | undefined },
  ): void {
    const after = this.#shown(topic, peerKey)
    if (before === after) return
    this.#revision += 1n
    const left = before && {
      peerKey,
      sessionId: before.session.id,
      reason: departure.reason ?? DepartureReason.LEFT,
      ...(departure.record && { record: departure.record }),
    }
    for (const [name, seats] of this.#topics.get(topic) ?? []) {
      if (name === toHex(peerKey)) continue
      for (const { session } of seats) {
        const records = after && this.tamper([after.record], session.peerKey)
        const change: Change = !after
          ? { left: left ? [left] : [] }
          : before
            ? { updated: records ?? [] }
            : { joined: records ?? [] }
        const value = { ...change, topic: fromHex(topic), revision: this.#revision }
        session.push({ case: 'members', value: value as never })
      }
    }
  }
}
