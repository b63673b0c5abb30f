import { seededRandom, VirtualClock } from '@mesh/core'
import { LocalBackplane } from '../backplane/local-backplane.ts'
import { byteKey } from '../byte-key.ts'
import { createDomain } from '../domain.ts'
import { resolveLimits, type ServerLimits } from '../limits/server-limits.ts'
import { decodeEvent } from '../session/event-codec.ts'
import type { Session } from '../session/session.ts'
import type { SessionStream, StreamEnding, StreamSink } from '../session/session-stream.ts'
import { keyBytes, type TestRecordFields, verifiedRecord } from './records.ts'
import { ShownElsewhere } from './shown-elsewhere.ts'

/** The domain of a server without its transports, on a virtual clock; `elsewhere` is what another server has. */
export function testDomain(overrides: Partial<ServerLimits> = {}) {
  const limits = resolveLimits(overrides)
  const clock = new VirtualClock()
  const endings: StreamEnding[] = []
  const domain = createDomain({
    limits,
    clock,
    random: seededRandom(3),
    backplane: (directory) => new ShownElsewhere(new LocalBackplane(directory, clock)),
    onStreamEnded: (ending) => endings.push(ending),
  })
  const { sessions, memberships, router } = domain
  let seq = 0

  /** Joins topic 1 unless the fields say otherwise. */
  const join = (session: Session, fields: TestRecordFields = {}, maxMembers = 0) => {
    seq += 1
    const base = verifiedRecord({ peer: session.peerKey[0] as number, seq, issuedAtMs: clock.wallMs(), ...fields })
    const record = { ...base, record: { ...base.record, sessionId: session.id, sessionOrder: session.order } }
    const joined = memberships.join(session, record, maxMembers)
    router.onJoin(session, byteKey(record.record.topic))
    return joined
  }
  const open = (peer: number, order = 1n): Session => sessions.open(keyBytes(peer), order)
  return { ...domain, elsewhere: domain.backplane as ShownElsewhere, limits, clock, endings, join, open }
}

/** A reader of a session stream: takes everything when woken, unless it is told to stall. */
export class TestReader implements StreamSink {
  readonly stream: SessionStream
  stalled = false
  backlogBytes = 0
  wakes = 0

  constructor(session: Session, cursor = 0n, tokenExpiresAtMs = Number.MAX_SAFE_INTEGER) {
    this.stream = session.attach(cursor, tokenExpiresAtMs, this)
  }

  wake(): void {
    this.wakes += 1
  }

  /** Everything there is, in order. */
  read() {
    const events = []
    while (this.stream.hasMore) events.push(...this.stream.take(1e6).map(decodeEvent))
    return events
  }

  /** The kinds of `read`, in order. */
  kinds(): (string | undefined)[] {
    return this.read().map(({ event }) => event.case)
  }
}
