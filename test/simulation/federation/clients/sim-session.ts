import { fromBinary } from '@bufbuild/protobuf'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { type Event, type MembersEvent, NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import { decodeEvent } from '../../../../server/session/event-codec.ts'
import type { Joined } from '../../../../server/session/memberships.ts'
import type { StoredEvent } from '../../../../server/session/replay-buffer.ts'
import type { Session } from '../../../../server/session/session.ts'
import type { SessionStream, StreamSink } from '../../../../server/session/session-stream.ts'
import type { SimProcess } from '../servers/sim-process.ts'

/** The members of one topic as a client knows them: each with the seq of its record. */
export interface ClientView {
  revision: bigint
  readonly members: Map<ByteKey, bigint>
}

export interface SessionListener {
  /** Something is there to read; call `read` soon. */
  readable(session: SimSession): void
  message(session: SimSession, event: Event): void
  /** The session's own membership ran out. */
  ownMembershipEnded(session: SimSession, topicKey: ByteKey): void
  /** Events were lost. */
  gap(session: SimSession): void
  ended(session: SimSession): void
}

/** A client's side of one session: its stream, and the views folded from what came over it. */
export class SimSession implements StreamSink {
  readonly process: SimProcess
  readonly session: Session
  readonly backlogBytes = 0
  readonly views = new Map<ByteKey, ClientView>()
  readonly #listener: SessionListener
  #stream: SessionStream | undefined
  #cursor = 0n

  constructor(process: SimProcess, session: Session, listener: SessionListener) {
    this.process = process
    this.session = session
    this.#listener = listener
  }

  get streaming(): boolean {
    return this.#stream?.isOpen === true
  }

  /** Opens or resumes the stream. */
  attach(): void {
    this.#stream = this.session.attach(this.#cursor, Number.MAX_SAFE_INTEGER, this)
    this.wake()
  }

  /** The connection broke. */
  detach(): void {
    this.#stream?.close()
    this.#stream = undefined
  }

  wake(): void {
    this.#listener.readable(this)
  }

  /** What Join returned is the view from its revision on. */
  joined(topicKey: ByteKey, { revision, members }: Joined): void {
    const view: ClientView = { revision, members: new Map() }
    for (const member of members) learn(view, member)
    this.views.set(topicKey, view)
  }

  left(topicKey: ByteKey): void {
    this.views.delete(topicKey)
  }

  read(): void {
    while (this.#stream?.hasMore === true) for (const event of this.#stream.take(1e6)) this.#handle(event)
  }

  /** Ids of messages that wait in the queue and that nobody will read: the session is over. */
  unread(): Event[] {
    const rest = this.session.attach(this.#cursor, Number.MAX_SAFE_INTEGER, { wake: () => undefined, backlogBytes: 0 })
    const events = rest.take(1e9).map(decodeShared)
    rest.close()
    return events
  }

  #handle(stored: StoredEvent): void {
    this.#cursor = BigInt(stored.cursor)
    const event = decodeShared(stored)
    switch (event.event.case) {
      case 'members':
        this.#fold(event.event.value)
        return
      case 'message':
        this.#listener.message(this, event)
        return
      case 'gap':
        this.#listener.gap(this)
        return
      case 'notice':
        if (event.event.value.kind !== NoticeKind.LIMIT_WARNING) this.#listener.ended(this)
        return
    }
  }

  #fold({ topic, revision, joined, updated, left }: MembersEvent): void {
    const topicKey = byteKey(topic)
    const view = this.views.get(topicKey)
    if (view === undefined || revision < view.revision) return
    // That its own record ran out is no change that others see, and so without a revision of its own.
    const isOver = left.some(({ peerKey, sessionId }) => this.#isOwn(peerKey, sessionId))
    // What Join returned is newer than what was under way to the stream.
    if (revision > view.revision) {
      view.revision = revision
      for (const record of [...joined, ...updated]) learn(view, record)
      for (const { peerKey } of left) view.members.delete(byteKey(peerKey))
    }
    if (!isOver) return
    this.views.delete(topicKey)
    this.#listener.ownMembershipEnded(this, topicKey)
  }

  #isOwn(peerKey: Uint8Array, sessionId: Uint8Array): boolean {
    return byteKey(peerKey) === this.session.peer && byteKey(sessionId) === this.session.key
  }
}

/** Bodies are shared by all sessions that hear of an event: one is decoded once. */
const decoded = new WeakMap<Uint8Array, Event>()

function decodeShared(stored: StoredEvent): Event {
  let event = decoded.get(stored.body)
  if (event === undefined) {
    event = decodeEvent(stored)
    decoded.set(stored.body, event)
  }
  return event
}

const seqs = new WeakMap<SignedRecord, { readonly peer: ByteKey; readonly seq: bigint }>()

function learn(view: ClientView, signed: SignedRecord): void {
  let known = seqs.get(signed)
  if (known === undefined) {
    const { peerKey, seq } = fromBinary(MembershipRecordSchema, signed.record)
    known = { peer: byteKey(peerKey), seq }
    seqs.set(signed, known)
  }
  view.members.set(known.peer, known.seq)
}
