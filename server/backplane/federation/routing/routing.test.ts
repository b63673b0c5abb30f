import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, seededRandom } from '@mesh/core'
import { FrameSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { keyBytes, sessionBytes } from '../../../testing/records.ts'
import type { Arrival, RemoteDelivery } from '../../backplane.ts'
import { envelopeTo, type Node, SmallNet, serverKey } from './small-net.fixture.ts'

const BOB = 2
const BOB_KEY = byteKey(keyBytes(BOB))

/** Servers 0, 1, 2, all connected; Bob has a session at 1. */
function setUp(limits: Partial<ServerLimits> = {}) {
  const net = new SmallNet(seededRandom(1), 3, limits)
  net.connectAll()
  net.place(BOB, 1)
  const [own, first, second] = net.nodes as [Node, Node, Node]
  first.here.set(BOB_KEY, 'delivered')
  /** Sends from server 0; `outcome` stays undefined until there is one. */
  const send = (fields?: Parameters<typeof envelopeTo>[1]) => {
    const state: { outcome?: RemoteDelivery } = {}
    own.routing.send(envelopeTo(BOB, fields), (outcome) => {
      state.outcome = outcome
    })
    return state
  }
  return { net, own, first, second, send }
}

const nobody = (): void => {}

/** How many frames of a kind went from one server to another. */
function frameCount({ frames }: SmallNet, kind: string, from: number, to: number): number {
  return frames.filter(
    (sent) => sent.frame.frame.case === kind && sent.from === serverKey(from) && sent.to === serverKey(to),
  ).length
}

describe('routing', () => {
  test('knows nobody to send to when no other server has the recipient, or the session that is meant', () => {
    const { net, own } = setUp()
    expect(own.routing.send(envelopeTo(7), nobody)).toBe(false)
    expect(own.routing.send(envelopeTo(BOB, { toSession: sessionBytes(9) }), nobody)).toBe(false)
    net.place(BOB, 0)
    expect(own.routing.send(envelopeTo(BOB), nobody)).toBe(false)
  })

  test.each<Arrival>(['delivered', 'held'])('answers %s when the recipient’s server does', async (arrival) => {
    const { net, first, send } = setUp()
    first.here.set(BOB_KEY, arrival)
    const sent = send()
    await net.clock.advance(5)
    expect(sent.outcome).toBe(arrival)
    expect(first.delivered).toHaveLength(1)
    expect(first.delivered[0]).toMatchObject({ to: BOB_KEY, from: byteKey(keyBytes(99)), payloadBytes: 1 })
  })

  test('carries what one turn produced in one frame each way', async () => {
    const { net, send } = setUp()
    for (let i = 0; i < 50; i++) send()
    await net.clock.advance(5)
    expect(frameCount(net, 'envelopes', 0, 1)).toBe(1)
    expect(frameCount(net, 'receipts', 1, 0)).toBe(1)
  })

  test('keeps a frame within 64 envelopes and 256 KiB', async () => {
    const { net, first, send } = setUp()
    for (let i = 0; i < 65; i++) send()
    for (let i = 0; i < 5; i++) send({ payload: 60_000 })
    await net.clock.advance(5)
    expect(frameCount(net, 'envelopes', 0, 1)).toBe(3)
    expect(first.delivered).toHaveLength(70)
  })

  test('goes to the next home when the first does not have the recipient', async () => {
    const { net, first, second, send } = setUp()
    net.place(BOB, 1, 2)
    first.here.delete(BOB_KEY)
    second.here.set(BOB_KEY, 'delivered')
    const sent = send()
    await net.clock.advance(10)
    expect(sent.outcome).toBe('delivered')
    expect(second.delivered).toHaveLength(1)
  })

  test('goes to the next home when no receipt comes in time', async () => {
    const { net, second, send } = setUp()
    net.place(BOB, 1, 2)
    second.here.set(BOB_KEY, 'delivered')
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    const sent = send()
    await net.clock.advance(1_999)
    expect(sent.outcome).toBeUndefined()
    await net.clock.advance(10)
    expect(sent.outcome).toBe('delivered')
  })

  test('goes to the next home at once when the stream to the first ends', async () => {
    const { net, second, send } = setUp()
    net.place(BOB, 1, 2)
    second.here.set(BOB_KEY, 'delivered')
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    const sent = send()
    await net.clock.advance(10)
    net.disconnect(1, 2)
    net.disconnect(0, 1)
    await net.clock.advance(10)
    expect(sent.outcome).toBe('delivered')
  })

  test('tries this server too when it is the next home', async () => {
    const { net, own, first, send } = setUp()
    net.place(BOB, 1, 0)
    first.here.delete(BOB_KEY)
    own.here.set(BOB_KEY, 'held')
    const sent = send()
    await net.clock.advance(10)
    expect(sent.outcome).toBe('held')
    expect(own.delivered).toHaveLength(1)
  })

  test('sends only to the home that has the session which is meant', async () => {
    const { net, first, second, send } = setUp()
    net.place(BOB, 1, 2)
    second.here.set(BOB_KEY, 'delivered')
    send({ toSession: sessionBytes(10 * BOB + 2) })
    await net.clock.advance(10)
    expect(first.delivered).toHaveLength(0)
    expect(second.delivered).toHaveLength(1)
  })

  test('takes a receipt that comes late, while it tries another home', async () => {
    const { net, send } = setUp({ federationReceiptMs: 100 })
    net.place(BOB, 1, 2)
    net.delayMs = () => 60
    net.fate = (_from, to) => (to === serverKey(2) ? 'vanishes' : 'arrives')
    const sent = send()
    await net.clock.advance(119)
    expect(sent.outcome).toBeUndefined()
    await net.clock.advance(1)
    expect(sent.outcome).toBe('delivered')
  })

  test('answers absent, or unanswered when it may have arrived, after two receipts’ time without a ttl', async () => {
    const { net, first, send } = setUp()
    first.here.delete(BOB_KEY)
    const refused = send()
    await net.clock.advance(3_999)
    expect(refused.outcome).toBeUndefined()
    await net.clock.advance(1)
    expect(refused.outcome).toBe('absent')
    net.fate = () => 'vanishes'
    const silent = send()
    await net.clock.advance(4_000)
    expect(silent.outcome).toBe('unanswered')
    expect(net.clock.pending).toBe(0)
  })

  test('answers absent at once when the last home went away and nothing is on its way', async () => {
    const { net, first, send } = setUp()
    first.here.delete(BOB_KEY)
    const sent = send()
    await net.clock.advance(10)
    net.place(BOB)
    await net.clock.advance(100)
    expect(sent.outcome).toBe('absent')
  })

  test('answers held after a round in vain when there is a ttl, and goes on until a home appears', async () => {
    const { net, own, first, second, send } = setUp()
    first.here.delete(BOB_KEY)
    const sent = send({ ttlMs: 30_000 })
    await net.clock.advance(10)
    expect(sent.outcome).toBe('held')
    net.place(BOB)
    await net.clock.advance(10_000)
    second.here.set(BOB_KEY, 'delivered')
    net.place(BOB, 2)
    await net.clock.advance(3)
    expect(second.delivered).toMatchObject([{ ttlMs: expect.closeTo(19_990, -2) }])
    expect(own.routing.journeys).toBe(0)
  })

  test('answers held within two receipts’ time, however many homes are silent', async () => {
    const { net, own, send } = setUp()
    net.place(BOB, 1, 2)
    net.fate = () => 'vanishes'
    const sent = send({ ttlMs: 30_000 })
    await net.clock.advance(4_000)
    expect(sent.outcome).toBe('held')
    await net.clock.advance(26_000)
    expect(own.routing.journeys).toBe(0)
    expect(own.routing.attempts).toBe(0)
    expect(net.clock.pending).toBe(0)
  })

  test('delivers when the stream comes back within the ttl', async () => {
    const { net, first, send } = setUp()
    net.disconnect(0, 1)
    net.disconnect(0, 2)
    const sent = send({ ttlMs: 5_000 })
    await net.clock.advance(2_000)
    expect(sent.outcome).toBe('held')
    net.connect(0, 1)
    await net.clock.advance(5)
    expect(first.delivered).toHaveLength(1)
  })

  test('delivers once when the receipt was lost, and says so the second time', async () => {
    const { net, first, send } = setUp()
    let lost = 0
    net.fate = (_from, to) => (to === serverKey(0) && lost++ === 0 ? 'vanishes' : 'arrives')
    const sent = send({ ttlMs: 30_000 })
    await net.clock.advance(2_100)
    expect(lost).toBeGreaterThan(1)
    expect(sent.outcome).toBe('delivered')
    expect(first.delivered).toHaveLength(1)
  })

  test('ends with a refusal that another home would repeat', async () => {
    const { net, first, send } = setUp()
    net.place(BOB, 1, 2)
    first.here.set(BOB_KEY, new MeshError(ErrorReason.RECIPIENT_SLOW, 'full', { retryAfterMs: 1_000 }))
    const sent = send({ ttlMs: 30_000 })
    await net.clock.advance(10)
    expect(sent.outcome).toMatchObject({ reason: ErrorReason.RECIPIENT_SLOW, retryable: true })
    expect(frameCount(net, 'envelopes', 0, 2)).toBe(0)
  })

  test('tries again when the other server does not know the sender as a member yet', async () => {
    const { net, first, send } = setUp()
    first.here.set(BOB_KEY, new MeshError(ErrorReason.NOT_MEMBER, 'unknown'))
    const sent = send()
    await net.clock.advance(10)
    first.here.set(BOB_KEY, 'delivered')
    await net.clock.advance(60)
    expect(sent.outcome).toBe('delivered')
  })

  test('answers NOT_MEMBER when the other server never learns of the sender', async () => {
    const { net, first, send } = setUp()
    first.here.set(BOB_KEY, new MeshError(ErrorReason.NOT_MEMBER, 'unknown'))
    const sent = send()
    await net.clock.advance(4_000)
    expect(sent.outcome).toMatchObject({ reason: ErrorReason.NOT_MEMBER })
  })

  test('refuses what is more than a server may be sent, and takes it again when there is room', async () => {
    const { net, own, send } = setUp({ federationMaxAttempts: 3, federationMaxQueueBytes: 1_000_000 })
    net.fate = () => 'vanishes'
    const outcomes = Array.from({ length: 4 }, () => send())
    await net.clock.advance(1)
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      undefined,
      undefined,
      undefined,
      expect.objectContaining({ reason: ErrorReason.RECIPIENT_SLOW, retryable: true }),
    ])
    const refused = send({ ttlMs: 30_000 })
    expect(own.routing.journeys).toBe(3)
    await net.clock.advance(4_000)
    // It is not said to be held when its patience would have been over.
    expect(refused.outcome).toMatchObject({ reason: ErrorReason.RECIPIENT_SLOW })
    net.fate = () => 'arrives'
    const later = send()
    await net.clock.advance(5)
    expect(later.outcome).toBe('delivered')
  })

  test('refuses more bytes than may wait for a server, and one envelope that never fits', async () => {
    const { net, send } = setUp({ federationMaxQueueBytes: 100_000, federationMaxRequestBytes: 80_000 })
    net.fate = () => 'vanishes'
    const outcomes = [send({ payload: 60_000 }), send({ payload: 60_000 })]
    await net.clock.advance(1)
    expect(outcomes[0]?.outcome).toBeUndefined()
    expect(outcomes[1]?.outcome).toMatchObject({ reason: ErrorReason.RECIPIENT_SLOW })
    await net.clock.advance(4_000)
    const large = send({ payload: 79_000 })
    await net.clock.advance(1)
    expect(large.outcome).toMatchObject({ reason: ErrorReason.LIMIT_EXCEEDED, retryable: false })
  })

  test('gives up what is on its way when it closes, and leaves no timer', async () => {
    const { net, own, send } = setUp()
    net.fate = () => 'vanishes'
    const sent = [send({ ttlMs: 30_000 }), send()]
    await net.clock.advance(10)
    own.routing.close()
    await net.clock.advance(0)
    expect(sent.map(({ outcome }) => outcome)).toEqual(['unanswered', 'unanswered'])
    expect(net.clock.pending).toBe(0)
  })

  test('takes receipts only from the server it sent to', async () => {
    const { net, own, send } = setUp()
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    const sent = send()
    await net.clock.advance(5)
    const attempt = 1n
    const receipts = [{ attempt, status: OutcomeStatus.DELIVERED }]
    own.routing.receive(serverKey(2), create(FrameSchema, { frame: { case: 'receipts', value: { receipts } } }))
    await net.clock.advance(5)
    expect(sent.outcome).toBeUndefined()
    own.routing.receive(serverKey(1), create(FrameSchema, { frame: { case: 'receipts', value: { receipts } } }))
    await net.clock.advance(5)
    expect(sent.outcome).toBe('delivered')
  })

  test('refuses frames of the other channel, and receipts that say nothing', () => {
    const { own } = setUp()
    const rows = create(FrameSchema, { frame: { case: 'rows', value: {} } })
    const empty = create(FrameSchema, { frame: { case: 'receipts', value: { receipts: [{ attempt: 1n }] } } })
    expect(() => own.routing.receive(serverKey(1), rows)).toThrow(MeshError)
    expect(() => own.routing.receive(serverKey(1), empty)).toThrow(MeshError)
  })
})

describe('routing through a third server', () => {
  test('passes the envelope on, and the receipt back, when there is no direct stream', async () => {
    const { net, first, send } = setUp()
    net.disconnect(0, 1)
    const sent = send()
    await net.clock.advance(10)
    expect(sent.outcome).toBe('delivered')
    expect(first.delivered).toHaveLength(1)
    expect(frameCount(net, 'envelopes', 0, 2)).toBe(1)
    expect(frameCount(net, 'envelopes', 2, 1)).toBe(1)
  })

  test('goes direct when there is a direct stream', async () => {
    const { net, send } = setUp()
    send()
    await net.clock.advance(10)
    expect(frameCount(net, 'envelopes', 0, 2)).toBe(0)
  })

  test('goes through another server when the direct stream gives no answer', async () => {
    const { net, first, send } = setUp()
    net.fate = (from, to) => (from === serverKey(0) && to === serverKey(1) ? 'vanishes' : 'arrives')
    const sent = send()
    await net.clock.advance(1_999)
    expect(first.delivered).toEqual([])
    await net.clock.advance(20)
    expect(sent.outcome).toBe('delivered')
    expect(first.delivered).toHaveLength(1)
  })

  test('asks no third server when the home itself says that the recipient is not there', async () => {
    const { net, first, send } = setUp()
    first.here.delete(BOB_KEY)
    send()
    await net.clock.advance(4_000)
    expect(frameCount(net, 'envelopes', 0, 2)).toBe(0)
  })

  test('asks another third when the first has no way either, and gives up after two', async () => {
    const net = new SmallNet(seededRandom(4), 5)
    net.connectAll()
    net.place(BOB, 4)
    for (const other of [0, 1, 2, 3]) net.disconnect(other, 4)
    const outcomes: RemoteDelivery[] = []
    net.nodes[0]?.routing.send(envelopeTo(BOB, { ttlMs: 1_000 }), (outcome) => outcomes.push(outcome))
    await net.clock.advance(20)
    expect(outcomes).toEqual(['held'])
    expect(net.frames.filter(({ frame }) => frame.frame.case === 'envelopes')).toHaveLength(2)
  })

  test('never passes on further than one server', async () => {
    const net = new SmallNet(seededRandom(4), 4)
    net.connect(0, 1)
    net.connect(1, 2)
    net.connect(2, 3)
    net.place(BOB, 3)
    net.nodes[3]?.here.set(BOB_KEY, 'delivered')
    const outcomes: RemoteDelivery[] = []
    net.nodes[0]?.routing.send(envelopeTo(BOB), (outcome) => outcomes.push(outcome))
    await net.clock.advance(4_000)
    expect(outcomes).toEqual(['absent'])
    expect(net.frames.every(({ from }) => from === serverKey(0) || from === serverKey(1))).toBe(true)
  })

  test('answers that there is no way when the onward stream ends', async () => {
    const { net, own, send } = setUp()
    net.disconnect(0, 1)
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    send()
    await net.clock.advance(10)
    net.disconnect(1, 2)
    await net.clock.advance(10)
    expect(frameCount(net, 'receipts', 2, 0)).toBe(1)
    expect(own.routing.journeys).toBe(1)
  })

  test('forgets what it passed on when no receipt comes, and when the asking server went away', async () => {
    const { net, second, send } = setUp()
    net.disconnect(0, 1)
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    send()
    await net.clock.advance(10)
    expect(second.routing.attempts).toBe(1)
    net.disconnect(0, 2)
    await net.clock.advance(2_000)
    expect(second.routing.attempts).toBe(0)
  })

  test('gives others half of its room', async () => {
    const { net, own, second } = setUp({ federationMaxAttempts: 4 })
    net.disconnect(0, 1)
    net.fate = (_from, to) => (to === serverKey(1) ? 'vanishes' : 'arrives')
    for (let i = 0; i < 4; i++) own.routing.send(envelopeTo(BOB), nobody)
    await net.clock.advance(10)
    expect(second.routing.attempts).toBe(2)
    second.routing.send(envelopeTo(BOB), nobody)
    expect(second.routing.attempts).toBe(3)
  })
})
