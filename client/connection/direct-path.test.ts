import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, type Random, VirtualClock } from '@mesh/core'
import { type RtcSignal, RtcSignalSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { DirectPath } from './direct-path.ts'
import { FakeRtc } from './fake-rtc.fixture.ts'
import type { RtcDataChannel, RtcIceServer } from './rtc.ts'
import { Turns } from './turns.ts'

/** Full jitter at its upper end, so that waits are known. */
const LONGEST: Random = { bytes: (length) => new Uint8Array(length), uniform: () => 1 }
const TURN: RtcIceServer = { urls: 'turn:a', username: 'u', credential: 'c' }
const STUN: RtcIceServer = { urls: 'stun:a' }

let clock: VirtualClock
let rtc: FakeRtc
let sent: RtcSignal[]
let channels: RtcDataChannel[]
let downs: MeshError[]

beforeEach(() => {
  clock = new VirtualClock()
  rtc = new FakeRtc()
  sent = []
  channels = []
  downs = []
})

function makePath(options: {
  offerer: boolean
  factory?: FakeRtc | undefined
  factoryNow?: () => FakeRtc | undefined
  reachable?: () => boolean
  iceServers?: RtcIceServer[]
  turns?: Turns
}): DirectPath {
  const turns = options.turns ?? new Turns(8)
  return new DirectPath({
    clock,
    random: LONGEST,
    factory: options.factoryNow ?? (() => ('factory' in options ? options.factory : rtc)),
    reachable: options.reachable ?? (() => true),
    iceServers: () => options.iceServers ?? [],
    offerer: options.offerer,
    turn: () => turns.take(),
    sendSignal: (signal) => sent.push(signal),
    onChannel: (channel) => channels.push(channel),
    onDown: (error) => downs.push(error),
    onChange: () => {},
  })
}

function signal(attempt: number, body: RtcSignal['signal']): RtcSignal {
  return create(RtcSignalSchema, { attempt, signal: body })
}

function offer(attempt: number): RtcSignal {
  return signal(attempt, { case: 'offer', value: `offer ${attempt}` })
}

const REQUEST: RtcSignal['signal'] = { case: 'request', value: { $typeName: 'mesh.peer.v1.RtcRequest' } }

/** "attempt case" of everything sent. */
function log(): string[] {
  return sent.map(({ attempt, signal: { case: name } }) => `${attempt} ${name}`)
}

async function failNow(): Promise<void> {
  rtc.last.fail()
  await clock.advance(0)
}

describe('direct path of the offerer', () => {
  it('begins when the peer is admitted, and not before', async () => {
    const path = makePath({ offerer: true })
    await clock.advance(1_000)
    expect(rtc.connections).toEqual([])
    path.enable()
    path.enable()
    await clock.advance(0)
    expect(log()).toEqual(['1 offer'])
    expect(path.state).toBe('connecting')
    rtc.last.open()
    expect(path.state).toBe('open')
    expect(channels).toEqual([rtc.last.channel])
    path.close()
  })

  it('tries three times with backoff, the last time through TURN only, then once in a while', async () => {
    const path = makePath({ offerer: true, iceServers: [STUN, TURN] })
    path.enable()
    const starts: number[] = []
    for (let i = 0; i < 5; i++) {
      while (rtc.connections.length === i) await clock.advance(100)
      starts.push(clock.monotonicMs())
      await failNow()
    }
    const waits = starts.slice(1).map((ms, i) => Math.round((ms - (starts[i] as number)) / 1_000))
    expect(waits).toEqual([1, 2, 300, 600])
    const policies = rtc.connections.map(({ configuration }) => configuration.iceTransportPolicy)
    expect(policies).toEqual(['all', 'all', 'relay', 'all', 'all'])
    expect(log().filter((entry) => entry.includes('failure'))).toHaveLength(5)
    expect(path).toMatchObject({ state: 'waiting', tries: 5 })
    expect(path.lastError?.reason).toBe(ErrorReason.NO_CANDIDATES)
    path.close()
    expect(clock.pending).toBe(0)
  })

  it('never asks for relay only when there is no TURN server', async () => {
    const path = makePath({ offerer: true, iceServers: [STUN] })
    path.enable()
    for (let i = 0; i < 3; i++) {
      while (rtc.connections.length === i) await clock.advance(100)
      await failNow()
    }
    expect(rtc.connections.map(({ configuration }) => configuration.iceTransportPolicy)).toEqual(['all', 'all', 'all'])
    path.close()
  })

  it('starts over after a channel that held, not after one that did not', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    await clock.advance(0)
    rtc.last.open()
    await clock.advance(4_000)
    rtc.last.channel.end()
    expect(path.tries).toBe(1)
    await clock.advance(1_000)
    rtc.last.open()
    await clock.advance(6_000)
    rtc.last.channel.end()
    expect(path.tries).toBe(0)
    expect(downs).toHaveLength(2)
    await clock.advance(1_000)
    expect(log()).toEqual(['1 offer', '2 offer', '3 offer'])
    path.close()
  })

  it('does not tell the other side that an open channel ended: it sees that itself', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    await clock.advance(0)
    rtc.last.open()
    path.fail(new MeshError(ErrorReason.LINK_TIMEOUT, 'silent'))
    expect(log()).toEqual(['1 offer'])
    expect(downs.map(({ reason }) => reason)).toEqual([ErrorReason.LINK_TIMEOUT])
    expect(rtc.last.closed).toBe(true)
    path.fail(new MeshError(ErrorReason.LINK_TIMEOUT, 'again'))
    expect(downs).toHaveLength(1)
    path.close()
  })

  it('tries again when the answerer asks, and says that an open channel is over', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    await clock.advance(0)
    path.receive(signal(1, REQUEST))
    await clock.advance(0)
    // It is connecting already.
    expect(log()).toEqual(['1 offer'])
    rtc.last.open()
    const [first] = rtc.connections
    path.receive(signal(1, REQUEST))
    await clock.advance(0)
    expect(log()).toEqual(['1 offer', '2 offer'])
    expect([first?.closed, downs.length]).toEqual([true, 1])
    path.close()
  })

  it('drops signals of older attempts and of attempts it did not begin', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    await clock.advance(0)
    await failNow()
    await clock.advance(1_000)
    path.receive(signal(1, { case: 'answer', value: 'old' }))
    path.receive(signal(7, { case: 'answer', value: 'future' }))
    path.receive(offer(8))
    await clock.advance(0)
    expect(rtc.connections).toHaveLength(2)
    expect(rtc.last.log).toEqual(['local offer'])
    path.receive(signal(2, { case: 'answer', value: 'right' }))
    await clock.advance(0)
    expect(rtc.last.log).toEqual(['local offer', 'remote answer right'])
    path.close()
  })

  it('stops trying when the other side has no WebRTC', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    await clock.advance(0)
    path.receive(signal(1, { case: 'failure', value: new MeshError(ErrorReason.RTC_UNAVAILABLE, '').toDetail() }))
    await clock.advance(3_600_000)
    expect(rtc.connections).toHaveLength(1)
    expect(path).toMatchObject({ state: 'off' })
    expect(path.lastError?.reason).toBe(ErrorReason.RTC_UNAVAILABLE)
  })

  it('is off and says why without WebRTC', async () => {
    const path = makePath({ offerer: true, factory: undefined })
    path.enable()
    await clock.advance(60_000)
    expect(path).toMatchObject({ state: 'off', tries: 0 })
    expect(path.lastError?.reason).toBe(ErrorReason.RTC_UNAVAILABLE)
    expect(sent).toEqual([])
  })

  it('waits for its turn, and gives it back when the channel is open or the attempt failed', async () => {
    const turns = new Turns(1)
    const [first, second] = [makePath({ offerer: true, turns }), makePath({ offerer: true, turns })]
    first.enable()
    second.enable()
    await clock.advance(0)
    expect(rtc.connections).toHaveLength(1)
    await failNow()
    expect(rtc.connections).toHaveLength(2)
    rtc.last.open()
    await clock.advance(1_000)
    expect(rtc.connections).toHaveLength(3)
    first.close()
    second.close()
  })

  it('gives a turn back that comes after close', async () => {
    const turns = new Turns(1)
    const end = await turns.take()
    const path = makePath({ offerer: true, turns })
    path.enable()
    path.close()
    end()
    await clock.advance(0)
    expect(rtc.connections).toEqual([])
    await turns.take()
  })
})

describe('direct path of the answerer', () => {
  it('waits for an offer, and answers it', async () => {
    const path = makePath({ offerer: false })
    path.enable()
    await clock.advance(60_000)
    expect(rtc.connections).toEqual([])
    path.receive(offer(1))
    await clock.advance(0)
    expect(log()).toEqual(['1 answer'])
    rtc.last.open()
    expect(channels).toHaveLength(1)
    path.close()
  })

  it('takes no signal before the peer is admitted', async () => {
    const path = makePath({ offerer: false })
    path.receive(offer(1))
    await clock.advance(0)
    expect(rtc.connections).toEqual([])
  })

  it('begins anew with a newer offer, and says that its open channel is over', async () => {
    const path = makePath({ offerer: false })
    path.enable()
    path.receive(offer(1))
    await clock.advance(0)
    rtc.last.open()
    const [first] = rtc.connections
    path.receive(offer(2))
    await clock.advance(0)
    expect(log()).toEqual(['1 answer', '2 answer'])
    expect([first?.closed, downs.length, path.state]).toEqual([true, 1, 'connecting'])
    path.receive(offer(1))
    await clock.advance(0)
    expect(rtc.connections).toHaveLength(2)
    path.close()
  })

  it('asks for a new attempt when its channel ended, not when an attempt failed', async () => {
    const path = makePath({ offerer: false })
    path.enable()
    path.receive(offer(1))
    await clock.advance(0)
    await failNow()
    expect(log()).toEqual(['1 answer', '1 failure'])
    path.receive(offer(2))
    await clock.advance(0)
    rtc.last.open()
    rtc.last.channel.end()
    expect(log().slice(2)).toEqual(['2 answer', '2 request'])
    await clock.advance(600_000)
    expect(rtc.connections).toHaveLength(2)
    path.close()
  })

  it('refuses every offer without WebRTC, so that the other side stops', () => {
    const path = makePath({ offerer: false, factory: undefined })
    path.enable()
    path.receive(offer(1))
    expect(sent.map(({ signal: body }) => body)).toMatchObject([
      { case: 'failure', value: { reason: ErrorReason.RTC_UNAVAILABLE } },
    ])
    path.receive(offer(1))
    expect(sent).toHaveLength(1)
  })
})

describe('direct path that is hurried', () => {
  it('tries at once, and as often as at the start, where it would have waited long', async () => {
    const path = makePath({ offerer: true })
    path.enable()
    for (const waitMs of [0, 1_000, 2_000]) {
      await clock.advance(waitMs)
      await failNow()
    }
    expect([path.state, rtc.connections.length]).toEqual(['waiting', 3])
    path.hurry()
    for (const waitMs of [0, 1_000, 2_000]) {
      await clock.advance(waitMs)
      await failNow()
    }
    expect(rtc.connections).toHaveLength(6)
    path.close()
  })

  it('asks the offerer when this side answers, and leaves alone what is open or under way', async () => {
    const path = makePath({ offerer: false })
    path.enable()
    path.hurry()
    path.receive(offer(1))
    await clock.advance(0)
    path.hurry()
    rtc.last.open()
    path.hurry()
    expect(log()).toEqual(['1 answer'])
    await failNow()
    path.hurry()
    expect(log()).toEqual(['1 answer', '1 request', '1 request'])
    path.close()
  })

  it('begins nothing while the other side would not hear of it', async () => {
    let reachable = false
    const path = makePath({ offerer: true, reachable: () => reachable })
    path.enable()
    await clock.advance(600_000)
    expect([rtc.connections.length, path.state]).toEqual([0, 'waiting'])
    reachable = true
    path.hurry()
    await clock.advance(0)
    expect(log()).toEqual(['1 offer'])
    path.close()
  })
})

describe('direct path that is not always allowed', () => {
  it.each([
    [true, '1 offer'],
    [false, '1 request'],
  ] as const)('begins when it becomes possible, offerer: %s', async (offerer, first) => {
    let factory: FakeRtc | undefined
    const path = makePath({ offerer, factoryNow: () => factory })
    path.enable()
    path.enable()
    await clock.advance(0)
    expect([log(), path.state]).toEqual([[], 'off'])
    path.reconsider()
    factory = rtc
    path.reconsider()
    path.enable()
    await clock.advance(0)
    expect(log()).toEqual([first])
    path.close()
  })

  it('gives its channel up when it is no longer allowed, and says so once', async () => {
    let factory: FakeRtc | undefined = rtc
    const path = makePath({ offerer: true, factoryNow: () => factory })
    path.enable()
    await clock.advance(0)
    rtc.last.open()
    path.reconsider()
    expect(path.state).toBe('open')
    factory = undefined
    path.reconsider()
    path.reconsider()
    await clock.advance(600_000)
    expect([log(), downs.length, path.state, rtc.last.closed]).toEqual([['1 offer', '1 failure'], 1, 'off', true])
    expect(sent.at(-1)?.signal).toMatchObject({ case: 'failure', value: { reason: ErrorReason.RTC_UNAVAILABLE } })
  })
})

describe('direct path', () => {
  it.each([true, false])('is silent after close, offerer: %s', async (offerer) => {
    const path = makePath({ offerer })
    path.enable()
    path.receive(offer(1))
    await clock.advance(0)
    const { last } = rtc
    const before = sent.length
    path.close()
    path.close()
    last.gathered('late')
    last.open()
    path.receive(offer(2))
    path.enable()
    path.fail(new MeshError(ErrorReason.LINK_TIMEOUT, 'late'))
    await clock.advance(3_600_000)
    expect([sent.length, channels, downs, clock.pending, path.state]).toEqual([before, [], [], 0, 'off'])
    expect(rtc.connections).toHaveLength(1)
    expect(last.closed).toBe(true)
  })
})
