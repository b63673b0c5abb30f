import { create } from '@bufbuild/protobuf'
import { ErrorReason, VirtualClock } from '@mesh/core'
import {
  FederationLimitsSchema,
  type Frame,
  FrameSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../../../limits/server-limits.ts'
import { SendPace, ServerQuota } from './quota.ts'
import { rowsFrame, stateFrame } from './trunk.fixture.ts'

const envelopes = (count: number): Frame =>
  create(FrameSchema, { frame: { case: 'envelopes', value: { envelopes: Array.from({ length: count }, () => ({})) } } })

const page = (rows: number): Frame =>
  create(FrameSchema, {
    frame: { case: 'rows', value: { snapshot: { pageCount: 1 }, rows: Array.from({ length: rows }, () => ({})) } },
  })

const limits = resolveLimits({
  federationRecordsPerSecond: 100,
  federationRecordsBurst: 400,
  federationMessagesPerSecond: 50,
  federationMessagesBurst: 200,
})

describe('the quota of a server', () => {
  test('lets its burst through, then its rate, and counts rows and envelopes apart', async () => {
    const clock = new VirtualClock()
    const quota = new ServerQuota(limits, clock)
    quota.take(rowsFrame(400))
    quota.take(envelopes(200))
    expect(() => quota.take(rowsFrame(1))).toThrow('federation_records_per_second')
    expect(() => quota.take(envelopes(1))).toThrow('federation_messages_per_second')
    await clock.advance(1_000)
    quota.take(rowsFrame(100))
    quota.take(envelopes(50))
    expect(() => quota.take(rowsFrame(1))).toThrow()
  })

  test('counts neither states nor pages of a snapshot', () => {
    const quota = new ServerQuota(limits, new VirtualClock())
    for (let i = 0; i < 100; i++) {
      quota.take(stateFrame(i))
      quota.take(page(1_000))
    }
  })

  test('says when a frame would have passed, and a minute for one that never would', () => {
    const quota = new ServerQuota(limits, new VirtualClock())
    quota.take(rowsFrame(400))
    const refusal = expect.objectContaining({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limitValue: 100n,
      value: 50n,
      retryAfterMs: 500,
    })
    expect(() => quota.take(rowsFrame(50))).toThrowError(refusal as Error)
    const never = expect.objectContaining({ retryAfterMs: 60_000 })
    expect(() => quota.take(rowsFrame(401))).toThrowError(never as Error)
  })
})

describe('a sender that keeps the pace', () => {
  const paced = (clock: VirtualClock): SendPace =>
    new SendPace(create(FederationLimitsSchema, { recordsPerSecond: 100, messagesPerSecond: 50 }), clock)

  test('is never refused, whatever it has to send and however the frames are cut', async () => {
    for (const rows of [1, 7, 50, 100]) {
      const clock = new VirtualClock()
      const pace = paced(clock)
      const quota = new ServerQuota(limits, clock)
      let sent = 0
      for (let step = 0; step < 3_000; step++) {
        while (pace.waitMs === 0) {
          quota.take(rowsFrame(rows))
          pace.count(rowsFrame(rows))
          sent += rows
        }
        await clock.advance(pace.waitMs)
        if (clock.monotonicMs() > 30_000) break
      }
      expect(sent / (clock.monotonicMs() / 1_000)).toBeGreaterThan(88)
      expect(sent / (clock.monotonicMs() / 1_000)).toBeLessThan(96)
    }
  })

  test('is not refused when four seconds of it arrive in one heap', async () => {
    const clock = new VirtualClock()
    const pace = paced(clock)
    const heap: Frame[] = []
    while (clock.monotonicMs() < 4_000) {
      while (pace.waitMs === 0) {
        heap.push(rowsFrame(10))
        pace.count(rowsFrame(10))
      }
      await clock.advance(pace.waitMs)
    }
    const quota = new ServerQuota(limits, clock)
    for (const frame of heap) quota.take(frame)
    expect(heap.length).toBeGreaterThan(35)
  })

  test('saves nothing up while it rests, and does not wait for frames that no rate counts', async () => {
    const clock = new VirtualClock()
    const pace = paced(clock)
    await clock.advance(60_000)
    let frames = 0
    for (; pace.waitMs === 0; frames++) pace.count(rowsFrame(1))
    expect(frames).toBe(23)
    expect(pace.waitMs).toBeGreaterThan(0)
    const before = pace.waitMs
    pace.count(stateFrame(1))
    expect(pace.waitMs).toBe(before)
  })
})
