import { seededRandom, VirtualClock } from '@mesh/core'
import { LocalBackplane } from '../backplane/local-backplane.ts'
import { byteKey } from '../byte-key.ts'
import { MemoryDirectory } from '../directory/memory-directory.ts'
import { resolveLimits, type ServerLimits } from '../limits/server-limits.ts'
import { Router } from '../router/router.ts'
import { decodeEvent } from '../session/event-codec.ts'
import { Memberships } from '../session/memberships.ts'
import type { Session } from '../session/session.ts'
import { SessionRegistry } from '../session/session-registry.ts'
import type { SessionStream, StreamEnding, StreamSink } from '../session/session-stream.ts'
import { keyBytes, type TestRecordFields, verifiedRecord } from './records.ts'

/** The domain of a server without its transports, on a virtual clock. */
export function createDomain(overrides: Partial<ServerLimits> = {}) {
  const limits = resolveLimits(overrides)
  const clock = new VirtualClock()
  const random = seededRandom(3)
  const { maxMembersPerTopic, clockSkewMs } = limits
  const directory = new MemoryDirectory({ maxMembersPerTopic, clockSkewMs, random, startWallMs: clock.wallMs() })
  const backplane = new LocalBackplane(directory, clock)
  const endings: StreamEnding[] = []
  const sessions: SessionRegistry = new SessionRegistry({
    limits,
    clock,
    random,
    onEnd: (session, end) => memberships.onSessionEnd(session, end),
    onStreamEnded: (ending) => endings.push(ending),
  })
  const memberships = new Memberships({ backplane, sessions, limits, clock })
  const router = new Router({ backplane, session: (id) => sessions.get(id), limits, clock })
  let seq = 0

  /** Joins topic 1 unless the fields say otherwise. */
  const join = (session: Session, fields: TestRecordFields = {}, maxMembers = 0) => {
    seq += 1
    const base = verifiedRecord({ peer: session.peerKey[0] as number, seq, issuedAtMs: clock.wallMs(), ...fields })
    const record = { ...base, record: { ...base.record, sessionId: session.id } }
    const joined = memberships.join(session, record, maxMembers)
    router.onJoin(session, byteKey(record.record.topic))
    return joined
  }
  const open = (peer: number, order = 1n): Session => sessions.open(keyBytes(peer), order)
  return { limits, clock, directory, backplane, sessions, memberships, router, endings, join, open }
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
