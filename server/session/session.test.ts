import { ErrorReason, MeshError } from '@mesh/core'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { TestReader, testDomain } from '../testing/domain.ts'
import { encodeEventBody } from './event-codec.ts'

const event = (text = ''): Uint8Array =>
  encodeEventBody({ case: 'message', value: { payload: new TextEncoder().encode(text) } })

/** The MeshError a function throws. */
function thrownBy(run: () => unknown): MeshError {
  try {
    run()
  } catch (error) {
    if (error instanceof MeshError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('a session stream', () => {
  test('starts with a heartbeat and sends one every ten seconds, whatever else it sends', async () => {
    const { clock, open } = testDomain()
    const session = open(1)
    const reader = new TestReader(session)
    expect(reader.kinds()).toEqual(['heartbeat'])
    await clock.advance(9_000)
    session.push(event())
    expect(reader.kinds()).toEqual(['message'])
    await clock.advance(1_000)
    expect(reader.kinds()).toEqual(['heartbeat'])
    await clock.advance(20_000)
    expect(reader.kinds()).toEqual(['heartbeat'])
  })

  test('carries rising cursors; heartbeats repeat the last one', async () => {
    const { clock, open } = testDomain()
    const session = open(1)
    const reader = new TestReader(session)
    session.push(event())
    session.push(event())
    await clock.advance(10_000)
    expect(reader.read().map(({ cursor }) => cursor)).toEqual([1n, 2n, 2n])
  })

  test('never outlives its token', async () => {
    const { clock, open, endings } = testDomain()
    const reader = new TestReader(open(1), 0n, clock.monotonicMs() + 5_000)
    reader.read()
    await clock.advance(4_999)
    expect(reader.stream.isOpen).toBe(true)
    await clock.advance(1)
    expect(endings).toMatchObject([{ notice: NoticeKind.TOKEN_EXPIRED, error: { reason: ErrorReason.TOKEN_EXPIRED } }])
    expect(reader.read().at(-1)?.event).toMatchObject({ value: { kind: NoticeKind.TOKEN_EXPIRED } })
    expect(reader.stream.hasMore).toBe(false)
  })

  test('that falls a queue behind ends as a slow reader, and the next one resumes', () => {
    const { open, endings } = testDomain({ maxStreamQueueBytes: 2_000 })
    const session = open(1)
    const reader = new TestReader(session)
    for (let i = 0; i < 20; i++) session.push(event('x'.repeat(100)))
    expect(endings).toMatchObject([
      {
        notice: NoticeKind.SLOW_READER,
        error: { limit: 'max_stream_queue_bytes', limitValue: 2_000n, retryable: true },
      },
    ])
    expect(session.queuedBytes).toBeLessThanOrEqual(2_000)
    expect(reader.read().map(({ event }) => event.value)).toMatchObject([
      { kind: NoticeKind.LIMIT_WARNING },
      { kind: NoticeKind.SLOW_READER },
    ])
    const resumed = new TestReader(session).read()
    expect(resumed[0]?.event).toMatchObject({ case: 'gap', value: { fromCursor: 1n } })
    expect(resumed.at(-2)?.cursor).toBe(20n)
  })

  test('is warned once on the way to being a queue behind, and again only after it caught up', () => {
    const { open } = testDomain({ maxStreamQueueBytes: 10_000 })
    const session = open(1)
    const reader = new TestReader(session)
    const warnings = (events: number) => {
      for (let i = 0; i < events; i++) session.push(event('x'.repeat(1_000)))
      return reader.read().flatMap(({ event }) => (event.case === 'notice' ? [event.value] : []))
    }
    const warning = {
      kind: NoticeKind.LIMIT_WARNING,
      detail: { limit: 'max_stream_queue_bytes', limitValue: 10_000n },
    }
    expect(warnings(5)).toEqual([])
    expect(warnings(8)).toMatchObject([warning])
    expect(warnings(8)).toMatchObject([warning])
  })

  test('whose transport holds what was taken counts that as queued', () => {
    const { open, endings } = testDomain({ maxStreamQueueBytes: 2_000 })
    const session = open(1)
    const reader = new TestReader(session)
    reader.read()
    reader.backlogBytes = 1_900
    session.push(event())
    expect(endings).toHaveLength(1)
  })

  test('that takes nothing for 25 seconds although something is there ends', async () => {
    const { clock, open, endings } = testDomain()
    const session = open(1)
    const reader = new TestReader(session)
    reader.read()
    session.push(event())
    await clock.advance(29_999)
    expect(endings).toEqual([])
    await clock.advance(1)
    expect(endings).toMatchObject([{ error: { limit: 'dead_after_ms' } }])
  })

  test('sends a batch no larger than asked for, but always one event', () => {
    const { open } = testDomain()
    const session = open(1)
    for (let i = 0; i < 3; i++) session.push(event('x'.repeat(100)))
    const { stream } = new TestReader(session)
    expect(stream.take(1)).toHaveLength(2)
    expect(stream.take(250)).toHaveLength(2)
    expect(stream.take(250)).toHaveLength(0)
  })
})

describe('a session', () => {
  test('resumes after the cursor, forgets what that acknowledges, and tells what was lost', () => {
    const { open } = testDomain({ replayMaxEvents: 3 })
    const session = open(1)
    const first = new TestReader(session)
    for (let i = 0; i < 8; i++) session.push(event(String(i)))
    first.read()
    first.stream.close()
    const inside = new TestReader(session, 6n)
    expect(inside.read().map(({ cursor }) => cursor)).toEqual([7n, 8n, 8n])
    inside.stream.close()
    const outside = new TestReader(session, 2n)
    expect(outside.read()[0]).toMatchObject({
      cursor: 6n,
      event: { case: 'gap', value: { fromCursor: 3n, toCursor: 6n } },
    })
  })

  test('starts with the oldest event held when the cursor is 0, without a gap for what was read before', () => {
    const { open } = testDomain({ replayMaxEvents: 3 })
    const session = open(1)
    const first = new TestReader(session)
    for (let i = 0; i < 8; i++) session.push(event())
    first.read()
    expect(new TestReader(session, 0n).read().map(({ cursor }) => cursor)).toEqual([6n, 7n, 8n, 8n])
  })

  test('refuses a cursor it never had, and more streams than allowed', () => {
    const { open } = testDomain({ maxStreamsPerSession: 2 })
    const session = open(1)
    expect(thrownBy(() => new TestReader(session, 1n))).toMatchObject({ reason: ErrorReason.CURSOR_INVALID, value: 1n })
    const [first] = [new TestReader(session), new TestReader(session)]
    expect(thrownBy(() => new TestReader(session))).toMatchObject({ limit: 'max_streams_per_session', value: 2n })
    first.stream.close()
    expect(new TestReader(session).stream.isOpen).toBe(true)
  })

  test('lives for its lease without a stream, and as long as it has one', async () => {
    const { clock, open, sessions } = testDomain()
    const session = open(1)
    await clock.advance(14_999)
    const reader = new TestReader(session)
    await clock.advance(20_000)
    reader.read()
    reader.stream.close()
    await clock.advance(14_999)
    expect(session.end).toBeUndefined()
    await clock.advance(1)
    expect(session.end).toEqual({ kind: 'expired' })
    expect(sessions.get(session.key)).toBeUndefined()
    expect(clock.pending).toBe(0)
  })

  test('renewing starts the lease over', async () => {
    const { clock, open } = testDomain()
    const session = open(1)
    await clock.advance(10_000)
    session.renew(1n)
    await clock.advance(10_000)
    expect(session.end).toBeUndefined()
  })

  test('forgets the quota of the recipient it has known longest when there are too many', () => {
    const { open } = testDomain()
    const session = open(1)
    const first = session.pairQuota('first')
    expect(session.pairQuota('first')).toBe(first)
    for (let i = 0; i < 1_024; i++) session.pairQuota(String(i))
    expect(session.pairQuota('first')).not.toBe(first)
  })
})

describe('the session registry', () => {
  test('gives a peer one session; the higher order wins and the older is told which', () => {
    const { open, sessions } = testDomain()
    const older = open(1, 5n)
    const reader = new TestReader(older)
    reader.read()
    const newer = open(1, 9n)
    expect(older.end).toEqual({ kind: 'replaced', order: 9n })
    expect(reader.read()[0]?.event).toMatchObject({
      value: { kind: NoticeKind.SESSION_REPLACED, detail: { value: 9n } },
    })
    expect(sessions.endOf(older.key)).toEqual({ kind: 'replaced', order: 9n })
    expect(thrownBy(() => open(1, 8n))).toMatchObject({ reason: ErrorReason.SESSION_REPLACED, value: 9n })
    expect(newer.end).toBeUndefined()
    expect(sessions.size).toBe(1)
  })

  test('lets a process that lost the answer open again with the same order', () => {
    const { open } = testDomain()
    const lost = open(1, 5n)
    expect(open(1, 5n).end).toBeUndefined()
    expect(lost.end).toMatchObject({ kind: 'replaced' })
  })

  test('bounds the live sessions, but never refuses a peer its own takeover', () => {
    const { open } = testDomain({ maxSessions: 2 })
    open(1)
    open(2)
    expect(thrownBy(() => open(3))).toMatchObject({ limit: 'max_sessions', limitValue: 2n, retryable: true })
    expect(open(2, 2n).end).toBeUndefined()
  })

  test('counts open streams, and says when there are none', async () => {
    const { open, sessions } = testDomain()
    const readers = [new TestReader(open(1)), new TestReader(open(2))]
    expect(sessions.streamCount).toBe(2)
    let idle = false
    const waiting = sessions.whenNoStreams().then(() => {
      idle = true
    })
    readers[0]?.stream.close()
    await Promise.resolve()
    expect(idle).toBe(false)
    readers[1]?.stream.close()
    await waiting
  })
})
