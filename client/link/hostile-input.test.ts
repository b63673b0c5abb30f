import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  AckRangeSchema,
  AttachSchema,
  ChannelCreditSchema,
  ChannelDataSchema,
  ChannelEndSchema,
  ChannelKind,
  ChannelOpenSchema,
  ChannelResetSchema,
  DetachSchema,
  type Frame,
  FrameSchema,
  GoodbyeSchema,
  PacketBodySchema,
  PingSchema,
  RtcSignalSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { SignedRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { describe, expect, test } from 'vitest'
import type { LinkLimits } from './link-limits.ts'
import { linkPair, type RecordedLink, topicOf } from './testing/link-pair.fixture.ts'

type Body = Frame['body']

/** A link of the higher peer, and a hostile lower one who writes packets by hand. */
function victim(limits?: Partial<LinkLimits>): { link: RecordedLink; send: (...bodies: Body[]) => void } {
  const { higher } = linkPair({ arrives: () => false, ...(limits && { limits }) })
  let seq = 0n
  return {
    link: higher,
    send: (...bodies) => {
      const frames = bodies.map((body) => create(FrameSchema, { seq: ++seq, body }))
      higher.link.receive('relay', create(PacketBodySchema, { frames }))
    },
  }
}

function open(channel: number, fields: Omit<MessageInitShape<typeof ChannelOpenSchema>, '$typeName'> = {}): Body {
  const value = create(ChannelOpenSchema, { channel, topic: topicOf(1), kind: ChannelKind.MESSAGES, ...fields })
  return { case: 'open', value }
}

function data(channel: number, bytes: number, endOfMessage = true): Body {
  return { case: 'data', value: create(ChannelDataSchema, { channel, data: new Uint8Array(bytes), endOfMessage }) }
}

const end = (channel: number): Body => ({ case: 'end', value: create(ChannelEndSchema, { channel }) })
const credit = (channel: number, total: bigint): Body => ({
  case: 'credit',
  value: create(ChannelCreditSchema, { channel, credit: total }),
})
const reset = (channel: number, message = ''): Body => ({
  case: 'reset',
  value: create(ChannelResetSchema, { channel, message }),
})
const record = create(SignedRecordSchema)

describe('Link closes with FRAME_INVALID', () => {
  test.each<[string, Body[]]>([
    ['data on a channel that was never opened', [data(2, 1)]],
    ['credit for a channel that was never opened', [credit(4, 9n)]],
    ['an end of a channel of its own that it never opened', [end(1)]],
    ['a reset of channel 0', [reset(0)]],
    ['a channel that is opened twice', [open(2), open(2)]],
    ['a channel that is opened again after its end', [open(2), reset(2), open(2)]],
    ['channel ids that fall', [open(6), open(4)]],
    ['a channel with the parity of the other side', [open(1)]],
    ['channel 0', [open(0)]],
    ['a channel without a kind', [open(2, { kind: ChannelKind.UNSPECIFIED })]],
    ['a channel with a name of 257 bytes', [open(2, { name: 'n'.repeat(257) })]],
    ['a channel with a name of 86 characters of 3 bytes', [open(2, { name: '€'.repeat(86) })]],
    ['a channel with a topic of 31 bytes', [open(2, { topic: new Uint8Array(31) })]],
    ['credit beyond 2^53 at the opening', [open(2, { credit: 2n ** 63n })]],
    ['credit beyond 2^53', [open(2), credit(2, 2n ** 63n)]],
    ['credit that falls', [open(2, { credit: 10n }), credit(2, 9n)]],
    ['data of 16,001 bytes', [open(2), data(2, 16_001)]],
    ['empty data that ends no message', [open(2), data(2, 0, false)]],
    ['data beyond the credit', [open(2), ...Array.from({ length: 17 }, () => data(2, 16_000))]],
    ['data after the end', [open(2), end(2), data(2, 1)]],
    ['a second end', [open(2), end(2), end(2)]],
    ['an end within a message', [open(2), data(2, 1, false), end(2)]],
    ['a reset with a text of 257 bytes', [open(2), reset(2, 'x'.repeat(257))]],
    ['an attach without a record', [{ case: 'attach', value: create(AttachSchema, { topic: topicOf(1) }) }]],
    [
      'an attach with evidence over 8 KiB',
      [{ case: 'attach', value: create(AttachSchema, { topic: topicOf(1), record, evidence: new Uint8Array(8_193) }) }],
    ],
    ['a detach without a topic', [{ case: 'detach', value: create(DetachSchema) }]],
    ['an RTC signal of attempt 0', [{ case: 'rtc', value: create(RtcSignalSchema) }]],
    [
      'an SDP over 16 KiB',
      [
        {
          case: 'rtc',
          value: create(RtcSignalSchema, { attempt: 1, signal: { case: 'offer', value: 'v'.repeat(16_385) } }),
        },
      ],
    ],
    ['a ping that has a seq', [{ case: 'ping', value: create(PingSchema) }]],
    ['a Goodbye that has a seq', [{ case: 'goodbye', value: create(GoodbyeSchema) }]],
  ])('when it gets %s', (_, bodies) => {
    const { link, send } = victim()
    send(...bodies)
    expect(link.closings).toMatchObject([{ error: { reasonName: 'FRAME_INVALID' }, report: { by: 'local' } }])
    const goodbye = link.sent.at(-1)?.body.frames[0]?.body
    expect(goodbye?.case === 'goodbye' && goodbye.value.error?.reason).toBe(115)
  })

  test.each([
    ['an acknowledgement of a frame it never sent', { ack: 1n }],
    ['a range of frames it never sent', { ranges: [create(AckRangeSchema, { first: 2n, last: 3n })] }],
    ['reliable data without a seq', { frames: [create(FrameSchema, { body: open(2) })] }],
  ])('when it gets %s', (_, fields) => {
    const { link } = victim()
    link.link.receive('relay', create(PacketBodySchema, fields))
    expect(link.closings[0]?.error.reasonName).toBe('FRAME_INVALID')
  })

  test('and handles nothing of the packet after the violation', () => {
    const { link, send } = victim()
    send(open(2), data(8, 1), open(4))
    expect(link.channels).toHaveLength(1)
  })
})

describe('Link goes on', () => {
  test('when frames of a closed channel still come', () => {
    const { link, send } = victim()
    send(open(2), reset(2), data(2, 5), credit(2, 500_000n), end(2), reset(2))
    expect(link.link.state).toBe('open')
  })

  test('when a frame comes that only a newer version knows', () => {
    const { link, send } = victim()
    send({ case: undefined }, open(2))
    expect([link.link.state, link.channels.length]).toEqual(['open', 1])
  })

  test('when a Pong comes that it never asked for', () => {
    const { link } = victim()
    const pong = create(FrameSchema, { body: { case: 'pong', value: { $typeName: 'mesh.peer.v1.Pong', id: 99n } } })
    link.link.receive('relay', create(PacketBodySchema, { frames: [pong] }))
    expect(link.link.state).toBe('open')
  })

  test.each([
    ['a kind of channel it does not know', {}, [open(2, { kind: 9 as ChannelKind })], 3],
    ['more channels than it allows', { maxChannels: 1 }, [open(2), open(4)], 5],
    ['a message over its bound', { maxMessageBytes: 10 }, [open(2), data(2, 8, false), data(2, 8)], 113],
  ])('and resets the channel when it gets %s', async (_, limits, bodies, reason) => {
    const { link, send } = victim(limits)
    send(...bodies)
    await Promise.resolve()
    expect(link.link.state).toBe('open')
    const frames = link.sent.flatMap(({ body }) => body.frames.map((frame) => frame.body))
    const resets = frames.flatMap((body) => (body.case === 'reset' ? [body.value.error?.reason] : []))
    expect(resets).toEqual([reason])
  })

  test('when frames come from far beyond the window, and holds none of them', () => {
    const { link } = victim()
    const frames = Array.from({ length: 1_000 }, (_, index) =>
      create(FrameSchema, { seq: 10_000n + BigInt(index), body: data(2, 1_000) }),
    )
    link.link.receive('relay', create(PacketBodySchema, { frames }))
    expect(link.link.stats).toMatchObject({ heldFrames: 0, heldBytes: 0, overflowsReceived: 1_000 })
    expect(link.link.state).toBe('open')
  })

  test('when everything but the next frame comes, and holds no more than its bounds', () => {
    const { link } = victim()
    for (let seq = 2n; seq < 5_000n; seq++) {
      const frame = create(FrameSchema, { seq, body: data(2, 16_000) })
      link.link.receive('relay', create(PacketBodySchema, { frames: [frame] }))
    }
    expect(link.link.stats.heldBytes).toBeLessThanOrEqual(4 * 1_024 * 1_024)
    expect(link.link.state).toBe('open')
  })
})

test('Link closes when a peer makes it queue refusals without end and acknowledges none', async () => {
  const { link, send } = victim({ maxChannels: 0, maxUrgentFrames: 50, relayWindowFrames: 1, urgentReserveFrames: 1 })
  for (let id = 2; id < 200; id += 2) send(open(id))
  await Promise.resolve()
  expect(link.closings[0]?.error).toMatchObject({ reasonName: 'LIMIT_EXCEEDED', limit: 'max_urgent_frames' })
})
