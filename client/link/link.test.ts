import { create } from '@bufbuild/protobuf'
import { MeshError } from '@mesh/core'
import {
  AttachSchema,
  ChannelKind,
  DetachSchema,
  FrameSchema,
  PacketBodySchema,
  PingSchema,
  RtcSignalSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { describe, expect, test } from 'vitest'
import type { ControlFrame } from './link-effects.ts'
import { linkPair, outcomeOf, topicOf } from './testing/link-pair.fixture.ts'

const MESSAGES = { topic: topicOf(1), kind: ChannelKind.MESSAGES }

function rtcFrame(attempt: number): ControlFrame {
  return { case: 'rtc', value: create(RtcSignalSchema, { attempt }) }
}

describe('Link acknowledgements', () => {
  test('travel in a packet of their own after 25 ms when nothing else is sent', async () => {
    const { clock, lower, higher } = linkPair()
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    await clock.advance(5 + 24)
    expect(higher.sent).toHaveLength(0)
    await clock.advance(1 + 5)
    expect(higher.takeFrames()).toEqual([[]])
    expect(sent.now).toBeUndefined()
  })

  test('leave at once with every sixteenth packet on the direct path', async () => {
    const { clock, lower, higher } = linkPair({ paths: ['direct'] })
    for (let attempt = 1; attempt <= 16; attempt++) {
      expect(higher.sent).toHaveLength(0)
      void lower.link.sendControl(rtcFrame(attempt))
      await clock.advance(1)
    }
    await clock.advance(5)
    expect(higher.takeFrames()).toEqual([[]])
  })

  test('wait for eight packets or 25 ms on the relay, where each costs an envelope', async () => {
    const { clock, lower, higher } = linkPair()
    for (let attempt = 1; attempt <= 8; attempt++) {
      void lower.link.sendControl(rtcFrame(attempt))
      await clock.advance(1)
    }
    await clock.advance(3)
    expect(higher.sent).toHaveLength(0)
    await clock.advance(1)
    expect(higher.takeFrames()).toEqual([[]])
  })

  test('ride on data when there is some', async () => {
    const { clock, lower, higher } = linkPair()
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    await clock.advance(6)
    void higher.link.sendControl(rtcFrame(1))
    await clock.advance(6)
    expect(higher.takeFrames()).toEqual([['rtc']])
    expect(sent.now).toBeUndefined()
  })

  test('leave at once, with ranges, when a packet overtook another', async () => {
    let lose = true
    const { clock, lower, higher } = linkPair({ arrives: (from) => from === 'higher' || !lose })
    void lower.link.sendControl(rtcFrame(1))
    await clock.advance(1)
    lose = false
    void lower.link.sendControl(rtcFrame(2))
    await clock.advance(5)
    expect(higher.sent[0]?.body).toMatchObject({ ack: 0n, ranges: [{ first: 2n, last: 2n }] })
  })

  test('are not acknowledged: an idle link is silent and keeps no timer', async () => {
    const { clock, lower, higher } = linkPair()
    void lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(10))
    await clock.advance(1_000)
    lower.takeFrames()
    higher.takeFrames()
    await clock.advance(3_600_000)
    expect([lower.sent.length, higher.sent.length, clock.pending]).toEqual([0, 0, 0])
  })
})

describe('Link packets', () => {
  test('carry what was sent in one turn together', async () => {
    const { clock, lower, higher } = linkPair()
    const channel = lower.link.openChannel(MESSAGES)
    for (let i = 0; i < 100; i++) void channel.sendMessage(new Uint8Array(20))
    await clock.advance(1)
    const packets = lower.takeFrames()
    expect(packets).toHaveLength(1)
    expect(packets[0]).toEqual(['open', ...Array.from({ length: 100 }, () => 'data')])
    await clock.advance(10)
    expect(higher.channels[0]).toMatchObject({ kind: ChannelKind.MESSAGES, name: '', opener: 'remote' })
  })

  test('put control frames before bulk that waits', async () => {
    const { clock, lower, higher } = linkPair({ limits: { relayWindowFrames: 4 } })
    const channel = lower.link.openChannel({ topic: topicOf(1), kind: ChannelKind.BYTES })
    void channel.writable.getWriter().write(new Uint8Array(200_000))
    await clock.advance(1)
    void lower.link.sendControl(rtcFrame(1))
    await clock.advance(6)
    // The window is full of bulk; the control frame has left all the same.
    expect(higher.control).toHaveLength(1)
    expect(lower.link.stats.queuedBytes).toBeGreaterThan(0)
  })

  test('stop when the path is full, and go on when it is ready', async () => {
    const { clock, lower } = linkPair({ paths: ['direct'] })
    lower.takesMore = false
    const channel = lower.link.openChannel(MESSAGES)
    void channel.sendMessage(new Uint8Array(100_000))
    await clock.advance(1)
    expect(lower.sent).toHaveLength(1)
    lower.link.pathReady('direct')
    await clock.advance(0)
    expect(lower.sent).toHaveLength(2)
  })

  test('stay within the window of the path until something is acknowledged', async () => {
    const { clock, lower } = linkPair({ arrives: () => false, limits: { relayWindowBytes: 50_000 } })
    void lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(200_000))
    await clock.advance(10)
    expect(lower.link.stats.outstandingBytes).toBeLessThan(50_000 + 16_400)
    expect(lower.link.stats.outstandingBytes).toBeGreaterThanOrEqual(50_000)
  })
})

describe('Link repeats', () => {
  test('a lost packet after the timeout, one packet as a probe, with backoff', async () => {
    const { clock, lower } = linkPair({ arrives: () => false })
    void lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(100_000))
    await clock.advance(999)
    const first = lower.takeFrames().length
    expect(first).toBeGreaterThan(5)
    const repeats: number[] = []
    for (let second = 1; second <= 16; second++) {
      await clock.advance(1_000)
      if (lower.takeFrames().length > 0) repeats.push(second)
    }
    // 1 s, then 2 s, 4 s and 8 s later: measured here at the end of each second.
    expect(repeats).toEqual([1, 3, 7, 15])
  })

  test('what three later frames overtook, without waiting for the timeout', async () => {
    let packets = 0
    const { clock, lower } = linkPair({ arrives: (from) => from === 'higher' || ++packets !== 2 })
    const channel = lower.link.openChannel(MESSAGES)
    const sent = outcomeOf(channel.sendMessage(new Uint8Array(100_000)))
    await clock.advance(100)
    expect(sent.now).toBeUndefined()
    expect(lower.link.stats).toMatchObject({ framesRepeated: 1, timeouts: 0 })
  })

  test('everything unacknowledged on the new path when the path changes, and the other side takes it once', async () => {
    const { clock, lower, higher } = linkPair({ arrives: (_, path) => path === 'direct' })
    const received: Uint8Array[] = []
    const channel = lower.link.openChannel(MESSAGES)
    const sends = Array.from({ length: 5 }, (_, index) => outcomeOf(channel.sendMessage(Uint8Array.of(index))))
    await clock.advance(100)
    for (const { link } of [lower, higher]) link.setPath('direct', { usable: true })
    await clock.advance(20)
    higher.channels[0]?.onMessage((bytes) => void received.push(bytes))
    await clock.advance(50)
    expect(lower.link.path).toBe('direct')
    expect(received).toEqual([0, 1, 2, 3, 4].map((index) => Uint8Array.of(index)))
    expect(sends.map(({ now }) => now)).toEqual([undefined, undefined, undefined, undefined, undefined])
  })

  test('nothing while the path is full: what was given to it may not have left', async () => {
    const { clock, lower } = linkPair({ arrives: () => false })
    lower.takesMore = false
    void lower.link.sendControl(rtcFrame(1))
    await clock.advance(5_000)
    expect(lower.sent).toHaveLength(1)
  })
})

describe('Link liveness', () => {
  test('pings a silent direct path every 5 s and measures the round trip', async () => {
    const { clock, lower, higher } = linkPair({ paths: ['direct'], delayMs: 20 })
    await clock.advance(5_100)
    const packets = [...lower.takeFrames(), ...higher.takeFrames()].flat()
    expect(packets).toEqual(expect.arrayContaining(['ping', 'pong']))
    expect(lower.link.rttMs ?? higher.link.rttMs).toBe(40)
  })

  test('gives a direct path up after 15 s of silence, and goes on by the relay', async () => {
    let up = true
    const { clock, lower, higher } = linkPair({
      paths: ['relay', 'direct'],
      arrives: (_, path) => path === 'relay' || up,
    })
    expect(lower.link.path).toBe('direct')
    up = false
    await clock.advance(14_900)
    expect(lower.deadPaths).toEqual([])
    await clock.advance(200)
    expect([lower.deadPaths, higher.deadPaths]).toEqual([['direct'], ['direct']])
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    await clock.advance(50)
    expect([lower.link.path, sent.now]).toEqual(['relay', undefined])
  })

  test('gives a direct path up when the other side is heard but nothing is acknowledged', async () => {
    const { clock, lower } = linkPair({
      paths: ['relay', 'direct'],
      // What lower sends on the direct path vanishes; what higher sends arrives.
      arrives: (from, path) => path === 'relay' || from === 'higher',
    })
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    await clock.advance(16_000)
    expect([lower.deadPaths, sent.now]).toEqual([['direct'], undefined])
  })

  test('asks again before it judges when the process was suspended', async () => {
    const { clock, lower, higher } = linkPair({ paths: ['direct'] })
    const monotonicMs = clock.monotonicMs.bind(clock)
    // The clock jumps while no timer runs, as it does over a laptop's sleep.
    clock.monotonicMs = () => monotonicMs() + 3_600_000
    await clock.advance(5_200)
    expect([lower.deadPaths, higher.deadPaths]).toEqual([[], []])
  })

  test('resolves a ping by a path that is not usable yet, and rejects it when no Pong comes', async () => {
    const { clock, lower } = linkPair({ arrives: (_, path) => path === 'direct', delayMs: 7 })
    const direct = outcomeOf(lower.link.ping('direct'))
    const relay = outcomeOf(lower.link.ping('relay'))
    await clock.advance(14)
    expect([direct.now, relay.now]).toEqual([14, 'pending'])
    await clock.advance(15_000)
    expect(relay.now).toBe('LINK_TIMEOUT')
  })

  test('answers a flood of pings with few Pongs', async () => {
    const { clock, lower } = linkPair()
    const frames = Array.from({ length: 1_000 }, (_, id) =>
      create(FrameSchema, { body: { case: 'ping', value: create(PingSchema, { id: BigInt(id) }) } }),
    )
    lower.link.receive('relay', create(PacketBodySchema, { frames }))
    await clock.advance(1)
    expect(lower.takeFrames().flat()).toEqual(['pong', 'pong', 'pong', 'pong'])
  })

  test('says after 30 s without anything by the relay that the other side is silent, and asks less often', async () => {
    let awake = false
    const { clock, lower } = linkPair({ arrives: () => awake })
    const sent = outcomeOf(lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(100)))
    await clock.advance(29_900)
    expect([lower.link.silent, lower.silences]).toEqual([false, []])
    await clock.advance(10_000)
    expect([lower.link.silent, lower.silences]).toEqual([true, [true]])
    lower.sent.length = 0
    await clock.advance(600_000)
    expect(lower.sent.length).toBeLessThanOrEqual(20)
    awake = true
    await clock.advance(30_100)
    expect([sent.now, lower.link.silent, lower.silences]).toEqual([undefined, false, [true, false]])
  })

  test('sends what waits at once when a silent side is heard, or known to be back', async () => {
    let awake = false
    const { clock, lower, higher } = linkPair({ arrives: () => awake })
    const sends = [1, 2].map((attempt) => outcomeOf(lower.link.sendControl(rtcFrame(attempt))))
    await clock.advance(300_000)
    awake = true
    void higher.link.sendControl(rtcFrame(1))
    await clock.advance(50)
    expect([lower.link.silent, ...sends.map(({ now }) => now)]).toEqual([false, undefined, undefined])
    awake = false
    const again = outcomeOf(lower.link.sendControl(rtcFrame(3)))
    await clock.advance(300_000)
    awake = true
    lower.link.check()
    await clock.advance(50)
    expect(again.now).toBeUndefined()
  })

  test('is not silent while something is heard, whatever it brings', async () => {
    const { clock, lower, higher } = linkPair({ arrives: (from) => from === 'higher' })
    void lower.link.sendControl(rtcFrame(1))
    for (let i = 0; i < 6; i++) {
      higher.link.ping('relay').catch(() => undefined)
      await clock.advance(20_000)
    }
    expect(lower.silences).toEqual([])
  })

  test('closes with LINK_TIMEOUT after an hour without progress on the relay, and says what was not delivered', async () => {
    const { clock, lower } = linkPair({ arrives: () => false })
    const sent = outcomeOf(lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(100)))
    await clock.advance(3_599_900)
    expect(lower.link.state).toBe('open')
    await clock.advance(30_000)
    expect(sent.now).toBe('LINK_TIMEOUT')
    expect(lower.closings).toMatchObject([
      { error: { reasonName: 'LINK_TIMEOUT' }, report: { by: 'local', undeliveredFrames: 2 } },
    ])
    expect(lower.closings[0]?.report.undeliveredBytes).toBeGreaterThanOrEqual(100)
  })

  test('waits an hour without any path while something waits, and for ever while nothing does', async () => {
    const waiting = linkPair()
    waiting.lower.link.setPath('relay', { usable: false })
    const idle = linkPair()
    idle.lower.link.setPath('relay', { usable: false })
    const sent = outcomeOf(waiting.lower.link.sendControl(rtcFrame(1)))
    await waiting.clock.advance(3_599_000)
    expect(sent.now).toBe('pending')
    await waiting.clock.advance(2_000)
    expect(sent.now).toBe('LINK_TIMEOUT')
    await idle.clock.advance(36_000_000)
    expect(idle.lower.link.state).toBe('open')
  })

  test('notices a peer that sleeps or is gone while data waits for nothing but its credit', async () => {
    let alive = true
    const { clock, lower } = linkPair({ arrives: () => alive })
    const channel = lower.link.openChannel({ topic: topicOf(1), kind: ChannelKind.BYTES })
    const writer = channel.writable.getWriter()
    writer.closed.catch(() => undefined)
    void writer.write(new Uint8Array(1_000_000)).catch(() => undefined)
    await clock.advance(2_000)
    expect(lower.link.stats.outstandingFrames).toBe(0)
    alive = false
    await clock.advance(40_000)
    expect([lower.link.silent, lower.link.state]).toEqual([true, 'open'])
    lower.sent.length = 0
    alive = true
    await clock.advance(30_000)
    expect([lower.link.silent, lower.sent.length > 0]).toEqual([false, true])
    alive = false
    await clock.advance(3_700_000)
    expect(lower.closings[0]?.error.reasonName).toBe('LINK_TIMEOUT')
  })

  test('finds out within 1.5 s of a check whether the direct path works, and leaves it alone if it does', async () => {
    let up = true
    const { clock, lower, higher } = linkPair({
      paths: ['relay', 'direct'],
      arrives: (_, path) => path === 'relay' || up,
    })
    lower.link.check()
    await clock.advance(4_000)
    expect(lower.link.path).toBe('direct')
    up = false
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    for (const { link } of [lower, higher]) link.check()
    await clock.advance(1_600)
    expect([lower.link.path, lower.deadPaths, sent.now]).toEqual(['relay', ['direct'], undefined])
  })

  test('asks a direct path that is quiet while the other side speaks by the relay, which finds it dead on one side alone', async () => {
    let up = true
    const { clock, lower, higher } = linkPair({
      paths: ['relay', 'direct'],
      arrives: (_, path) => path === 'relay' || up,
    })
    await clock.advance(4_000)
    up = false
    lower.link.setPath('direct', { usable: false })
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    await clock.advance(1_700)
    expect([higher.deadPaths, sent.now]).toEqual([['direct'], undefined])
  })

  test('keeps a direct path that answers, whatever still comes by the relay', async () => {
    const { clock, lower, higher } = linkPair({ paths: ['relay', 'direct'] })
    await clock.advance(4_000)
    lower.link.setPath('direct', { usable: false })
    for (let attempt = 1; attempt <= 20; attempt++) {
      void lower.link.sendControl(rtcFrame(attempt))
      await clock.advance(500)
    }
    expect([higher.link.path, higher.deadPaths]).toEqual(['direct', []])
    // Asked once in 1.5 s at most.
    expect(higher.takeFrames().filter((frames) => frames.includes('ping')).length).toBeLessThanOrEqual(7)
  })

  test('waits for a path without a timer that comes again and again, also after a check', async () => {
    const { clock, lower } = linkPair({ paths: [] })
    const sent = outcomeOf(lower.link.sendControl(rtcFrame(1)))
    lower.link.check()
    await clock.advance(1)
    expect(clock.msUntilNext).toBeGreaterThan(60_000)
    lower.link.setPath('relay', { usable: true })
    await clock.advance(100)
    expect([sent.now, lower.takeFrames()]).toEqual(['pending', [['rtc']]])
  })

  test('is not ended by a jump of the clock when it is checked before it judges', async () => {
    const pair = linkPair({ arrives: () => false })
    const { clock, lower } = pair
    const pathless = linkPair({ paths: [] })
    void lower.link.sendControl(rtcFrame(1))
    void pathless.lower.link.sendControl(rtcFrame(1))
    await clock.advance(60_000)
    for (const { clock: jumping, lower: side } of [pair, pathless]) {
      const monotonicMs = jumping.monotonicMs.bind(jumping)
      jumping.monotonicMs = () => monotonicMs() + 36_000_000
      side.link.check()
      await jumping.advance(20_000)
      expect(side.link.state).toBe('open')
    }
  })
})

describe('Link control frames', () => {
  const attach: ControlFrame = {
    case: 'attach',
    value: create(AttachSchema, { topic: topicOf(1), record: create(SignedRecordSchema) }),
  }

  test('arrive in order, exactly once', async () => {
    let packets = 0
    const { clock, lower, higher } = linkPair({ arrives: () => ++packets % 3 !== 0 })
    for (let attempt = 1; attempt <= 20; attempt++) {
      void lower.link.sendControl(rtcFrame(attempt))
      await clock.advance(10)
    }
    await clock.advance(10_000)
    const attempts = higher.control.map((frame) => frame.case === 'rtc' && frame.value.attempt)
    expect(attempts).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  test('come before the channels that were opened after them', async () => {
    const { clock, lower } = linkPair()
    void lower.link.sendControl(attach)
    void lower.link.openChannel(MESSAGES).sendMessage(new Uint8Array(1))
    await clock.advance(1)
    expect(lower.takeFrames()).toEqual([['attach', 'open', 'data']])
  })

  test('end the channels of a topic on both sides when it is detached, and no others', async () => {
    const { clock, lower, higher } = linkPair()
    const detached = lower.link.openChannel(MESSAGES)
    const kept = lower.link.openChannel({ ...MESSAGES, topic: topicOf(2) })
    void detached.sendMessage(Uint8Array.of(1))
    await clock.advance(50)
    void lower.link.sendControl({ case: 'detach', value: create(DetachSchema, { topic: topicOf(1) }) })
    await clock.advance(50)
    expect([detached.state, kept.state]).toEqual(['closed', 'open'])
    expect(higher.channels.map(({ state }) => state)).toEqual(['closed', 'open'])
    expect(higher.control.map((frame) => frame.case)).toEqual(['detach'])
    expect(higher.link.state).toBe('open')
  })

  test('are refused when they do not fit into a packet', async () => {
    const { lower } = linkPair()
    const value = create(RtcSignalSchema, { attempt: 1, signal: { case: 'offer', value: 'v'.repeat(17_000) } })
    await expect(lower.link.sendControl({ case: 'rtc', value })).rejects.toMatchObject({
      reasonName: 'INVALID_ARGUMENT',
    })
  })

  test('fit into a packet with the largest SDP there may be', async () => {
    const { clock, lower, higher } = linkPair()
    const value = create(RtcSignalSchema, { attempt: 1, signal: { case: 'offer', value: 'v'.repeat(16_384) } })
    void lower.link.sendControl({ case: 'rtc', value })
    await clock.advance(10)
    expect(higher.control).toHaveLength(1)
  })
})

describe('Link.close', () => {
  test('says Goodbye on every usable path and fails everything that waits', async () => {
    const { clock, lower, higher } = linkPair({ paths: ['relay', 'direct'], delayMs: 50 })
    const channel = lower.link.openChannel(MESSAGES)
    const waiting = [
      channel.sendMessage(new Uint8Array(1)),
      channel.receiveMessage(),
      channel.end(),
      lower.link.sendControl(rtcFrame(1)),
      lower.link.ping('direct'),
      lower.link.drained(),
    ].map(outcomeOf)
    await clock.advance(1)
    lower.takeFrames()
    lower.link.close()
    lower.link.close()
    const goodbyes = lower.sent.map(({ path, body }) => [path, body.frames[0]?.body.case])
    expect(goodbyes).toEqual([
      ['relay', 'goodbye'],
      ['direct', 'goodbye'],
    ])
    await clock.advance(100)
    expect(waiting.map(({ now }) => now)).toEqual(Array.from({ length: 6 }, () => 'LINK_CLOSED'))
    expect(await channel.closed).toMatchObject({ reasonName: 'LINK_CLOSED' })
    expect([lower.closings.length, lower.closings[0]?.report.by]).toEqual([1, 'local'])
    expect([higher.closings.length, higher.closings[0]?.report.by]).toEqual([1, 'remote'])
    expect(clock.pending).toBe(0)
  })

  test('tells the other side why', async () => {
    const { clock, lower, higher } = linkPair()
    lower.link.close(new MeshError(105, 'not admitted'))
    await clock.advance(10)
    expect(higher.closings[0]?.error.reasonName).toBe('ADMISSION_REFUSED')
  })

  test('leaves nothing that can be used', async () => {
    const { lower } = linkPair()
    lower.link.close()
    expect(() => lower.link.openChannel(MESSAGES)).toThrow(expect.objectContaining({ reasonName: 'LINK_CLOSED' }))
    await expect(lower.link.sendControl(rtcFrame(1))).rejects.toMatchObject({ reasonName: 'LINK_CLOSED' })
    await expect(lower.link.ping('relay')).rejects.toMatchObject({ reasonName: 'LINK_CLOSED' })
    await expect(lower.link.drained()).rejects.toMatchObject({ reasonName: 'LINK_CLOSED' })
  })
})

test('Link.drained resolves when everything sent before was delivered, data that waited for credit included', async () => {
  const { clock, lower, higher } = linkPair()
  await lower.link.drained()
  const channel = lower.link.openChannel({ topic: topicOf(1), kind: ChannelKind.BYTES })
  void channel.writable.getWriter().write(new Uint8Array(300_000))
  const drained = outcomeOf(lower.link.drained())
  const aborted = outcomeOf(lower.link.drained({ signal: AbortSignal.abort() }))
  await clock.advance(1_000)
  expect([drained.now, aborted.now]).toEqual(['pending', 'ABORTED'])
  void higher.channels[0]?.readable.pipeTo(new WritableStream())
  await clock.advance(1_000)
  expect(drained.now).toBeUndefined()
})
