import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import {
  ChannelCreditSchema,
  ChannelDataSchema,
  ChannelKind,
  DatagramSchema,
  type Frame,
  FrameSchema,
  PacketBodySchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { type LinkPair, type LinkPairOptions, linkPair, outcomeOf, topicOf } from '../testing/link-pair.fixture.ts'
import type { LinkChannel } from './link-channel.ts'

interface ChannelPair extends LinkPair {
  readonly near: LinkChannel
  readonly far: LinkChannel
}

/** A channel, seen from both sides. */
async function channelPair(kind: ChannelKind, options: LinkPairOptions = {}): Promise<ChannelPair> {
  const pair = linkPair({ delayMs: 1, ...options })
  const near = pair.lower.link.openChannel({ topic: topicOf(1), name: 'test', kind })
  await pair.clock.advance(50)
  return { ...pair, near, far: pair.higher.channels[0] as LinkChannel }
}

const { MESSAGES, BYTES, REQUEST, DATAGRAMS } = ChannelKind
const text = (bytes: Uint8Array | undefined): string | undefined => bytes && new TextDecoder().decode(bytes)
const encode = (value: string): Uint8Array => new TextEncoder().encode(value)
const refused = new MeshError(ErrorReason.REQUEST_FAILED, 'no')

describe('LinkChannel messages', () => {
  test('arrive whole, in order, in both directions', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    for (const word of ['one', '', 'three']) void near.sendMessage(encode(word))
    void far.sendMessage(new Uint8Array(70_000))
    await clock.advance(100)
    const words = [await far.receiveMessage(), await far.receiveMessage(), await far.receiveMessage()]
    expect(words.map(text)).toEqual(['one', '', 'three'])
    expect((await near.receiveMessage())?.length).toBe(70_000)
  })

  test('resolve when the other side has them, not before', async () => {
    const { clock, near } = await channelPair(MESSAGES, { delayMs: 40 })
    const sent = outcomeOf(near.sendMessage(encode('hello')))
    await clock.advance(79)
    expect(sent.now).toBe('pending')
    await clock.advance(30)
    expect(sent.now).toBeUndefined()
  })

  test('are refused over 16 MiB, and on a channel of bytes', async () => {
    const messages = await channelPair(MESSAGES)
    const bytes = await channelPair(BYTES)
    const large = new Uint8Array(16 * 1_024 * 1_024 + 1)
    await expect(messages.near.sendMessage(large)).rejects.toMatchObject({ reasonName: 'MESSAGE_TOO_LARGE' })
    await expect(bytes.near.sendMessage(encode('x'))).rejects.toMatchObject({ reasonName: 'INVALID_ARGUMENT' })
  })

  test('of 16 MiB arrive', async () => {
    const { clock, near, far } = await channelPair(MESSAGES, { paths: ['direct'] })
    const sent = outcomeOf(near.sendMessage(new Uint8Array(16 * 1_024 * 1_024).fill(5)))
    await clock.advance(1_000)
    const received = await far.receiveMessage()
    expect([received?.length, received?.[0], received?.at(-1), sent.now]).toEqual([16_777_216, 5, 5, undefined])
  })

  test('are not sent when aborted in time', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const controller = new AbortController()
    const first = outcomeOf(near.sendMessage(encode('taken back'), { signal: controller.signal }))
    const second = outcomeOf(near.sendMessage(encode('kept')))
    controller.abort()
    const late = outcomeOf(near.sendMessage(encode('too late'), { signal: controller.signal }))
    await clock.advance(100)
    expect([first.now, second.now, late.now]).toEqual(['ABORTED', undefined, 'ABORTED'])
    expect(text(await far.receiveMessage())).toBe('kept')
  })

  test('reject when aborted on the way, and may arrive all the same', async () => {
    const { clock, near, far } = await channelPair(MESSAGES, { delayMs: 40 })
    const controller = new AbortController()
    const sent = outcomeOf(near.sendMessage(encode('on its way'), { signal: controller.signal }))
    await clock.advance(10)
    controller.abort()
    await clock.advance(100)
    expect(sent.now).toBe('ABORTED')
    expect(text(await far.receiveMessage())).toBe('on its way')
  })

  test('are taken by iteration until the other side ends', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const words: (string | undefined)[] = []
    const reading = (async () => {
      for await (const bytes of far.messages()) words.push(text(bytes))
    })()
    void near.sendMessage(encode('a'))
    void near.sendMessage(encode('b'))
    const ended = outcomeOf(near.end())
    await clock.advance(100)
    await reading
    expect([words, ended.now, near.state, far.state]).toEqual([['a', 'b'], undefined, 'ended', 'open'])
  })

  test('wait for a listener that returns a promise, one at a time', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const seen: string[] = []
    far.onMessage((bytes) => {
      seen.push(text(bytes) as string)
      return new Promise((resolve) => clock.schedule(100, resolve))
    })
    for (const word of ['a', 'b', 'c']) void near.sendMessage(encode(word))
    await clock.advance(150)
    expect(seen).toEqual(['a', 'b'])
    await clock.advance(100)
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  test('hold the sender back when nobody reads, and go on when somebody does', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const sends = Array.from({ length: 60 }, () => outcomeOf(near.sendMessage(new Uint8Array(10_000))))
    await clock.advance(1_000)
    expect(sends.filter(({ now }) => now === undefined)).toHaveLength(26)
    far.onMessage(() => undefined)
    await clock.advance(1_000)
    expect(sends.filter(({ now }) => now === undefined)).toHaveLength(60)
  })

  test('lose nothing when a read is aborted', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const controller = new AbortController()
    const aborted = outcomeOf(far.receiveMessage({ signal: controller.signal }))
    controller.abort()
    void near.sendMessage(encode('kept'))
    await clock.advance(100)
    expect([aborted.now, text(await far.receiveMessage())]).toEqual(['ABORTED', 'kept'])
  })

  test('have one reader', async () => {
    const { far } = await channelPair(MESSAGES)
    far.onMessage(() => undefined)
    await expect(far.receiveMessage()).rejects.toMatchObject({ reasonName: 'INVALID_ARGUMENT' })
    expect(() => far.onMessage(() => undefined)).toThrow(expect.objectContaining({ reasonName: 'INVALID_ARGUMENT' }))
  })

  test('that arrived can be read after the link closed, and then the reader learns of it', async () => {
    const { clock, near, far, lower } = await channelPair(MESSAGES)
    void near.sendMessage(encode('last words'))
    await clock.advance(100)
    lower.link.close()
    await clock.advance(100)
    expect(text(await far.receiveMessage())).toBe('last words')
    await expect(far.receiveMessage()).rejects.toMatchObject({ reasonName: 'LINK_CLOSED' })
  })
})

describe('LinkChannel requests', () => {
  test('are one message each way, and then the channel is over', async () => {
    const { clock, near, far, lower, higher } = await channelPair(REQUEST)
    const answer = near.receiveMessage()
    far.onMessage((bytes) => void far.sendMessage(encode(`${text(bytes)} to you`)))
    void near.sendMessage(encode('good day'))
    await clock.advance(100)
    expect(text(await answer)).toBe('good day to you')
    expect([await near.closed, await far.closed]).toEqual([undefined, undefined])
    expect([lower.link.stats.openChannels, higher.link.stats.openChannels]).toEqual([0, 0])
  })

  test('take no second message', async () => {
    const { near } = await channelPair(REQUEST)
    void near.sendMessage(encode('one'))
    await expect(near.sendMessage(encode('two'))).rejects.toMatchObject({ reasonName: 'CHANNEL_CLOSED' })
  })

  test('fail with the reason of the other side', async () => {
    const { clock, near, far } = await channelPair(REQUEST)
    const answer = outcomeOf(near.receiveMessage())
    void near.sendMessage(encode('please'))
    far.onMessage(() => Promise.reject(refused))
    await clock.advance(100)
    expect(answer.now).toBe('REQUEST_FAILED')
  })

  test('may be open 256 at once from each side', async () => {
    const { lower, higher } = linkPair()
    const options = { topic: topicOf(1), kind: REQUEST }
    for (const { link } of [lower, higher]) {
      for (let i = 0; i < 256; i++) link.openChannel(options)
      expect(() => link.openChannel(options)).toThrow(expect.objectContaining({ limit: 'max_channels' }))
    }
  })
})

describe('LinkChannel streams', () => {
  test('carry bytes with backpressure to the writer', async () => {
    const { clock, near, far } = await channelPair(BYTES)
    const writer = near.writable.getWriter()
    let written = 0
    const writing = (async () => {
      for (let i = 0; i < 100; i++) {
        await writer.write(new Uint8Array(10_000).fill(i))
        written += 10_000
      }
      await writer.close()
    })()
    await clock.advance(1_000)
    // The credit of 256 KiB, the channel's queue of 64 KiB, and the chunk that crossed its bound.
    expect(written).toBeLessThan(262_144 + 65_536 + 20_000)
    const chunks: Uint8Array[] = []
    const reading = far.readable.pipeTo(new WritableStream({ write: (chunk) => void chunks.push(chunk) }))
    await clock.advance(1_000)
    await Promise.all([writing, reading])
    const all = Buffer.concat(chunks)
    expect([all.length, all[0], all[999_999]]).toEqual([1_000_000, 0, 99])
  })

  test('copy what is written, so the writer may use its buffer again', async () => {
    const { clock, near, far } = await channelPair(BYTES)
    const writer = near.writable.getWriter()
    const buffer = new Uint8Array(1_000).fill(1)
    await writer.write(buffer)
    buffer.fill(2)
    await clock.advance(10)
    expect((await far.receiveMessage())?.every((byte) => byte === 1)).toBe(true)
  })

  test('carry a chunk larger than every queue', async () => {
    const { clock, near, far } = await channelPair(BYTES, { limits: { maxQueuedBytes: 200_000 } })
    let received = 0
    const count = (chunk: Uint8Array): void => {
      received += chunk.length
    }
    void far.readable.pipeTo(new WritableStream({ write: count }))
    const writing = outcomeOf(near.writable.getWriter().write(new Uint8Array(5_000_000)))
    await clock.advance(5_000)
    expect([received, writing.now]).toEqual([5_000_000, undefined])
  })

  test('keep boundaries on a channel of messages', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const writer = near.writable.getWriter()
    for (const word of ['a', '', 'bcd']) void writer.write(encode(word))
    void writer.close()
    await clock.advance(100)
    const words: (string | undefined)[] = []
    for await (const chunk of far.readable) words.push(text(chunk))
    expect(words).toEqual(['a', '', 'bcd'])
  })

  test('end one direction and leave the other open', async () => {
    const { clock, near, far } = await channelPair(BYTES)
    const closing = outcomeOf(near.writable.close())
    await clock.advance(100)
    expect([closing.now, near.state, far.state]).toEqual([undefined, 'ended', 'open'])
    await far.writable.getWriter().write(encode('still here'))
    await clock.advance(100)
    expect(text(await near.receiveMessage())).toBe('still here')
    void far.end()
    await clock.advance(100)
    expect([near.state, far.state, await near.closed]).toEqual(['closed', 'closed', undefined])
  })

  test('fail on the other side when this one aborts writing', async () => {
    const { clock, near, far } = await channelPair(BYTES)
    const reading = outcomeOf(far.readable.getReader().read())
    const writing = outcomeOf(far.writable.getWriter().closed)
    void near.writable.abort(refused)
    await clock.advance(100)
    expect([reading.now, writing.now]).toEqual(['REQUEST_FAILED', 'REQUEST_FAILED'])
  })

  test('fail for the writer when the other side cancels reading', async () => {
    const { clock, near, far } = await channelPair(BYTES)
    const writer = near.writable.getWriter()
    const closed = outcomeOf(writer.closed)
    void far.readable.cancel(refused)
    await clock.advance(100)
    expect(closed.now).toBe('REQUEST_FAILED')
  })

  test('release a writer that waits for room when the link closes', async () => {
    const { clock, near, lower } = await channelPair(BYTES)
    const writer = near.writable.getWriter()
    const closed = outcomeOf(writer.closed)
    const writing = outcomeOf(writer.write(new Uint8Array(1_000_000)))
    await clock.advance(1_000)
    expect(writing.now).toBe('pending')
    lower.link.close()
    await clock.advance(100)
    expect([writing.now, closed.now]).toEqual(['LINK_CLOSED', 'LINK_CLOSED'])
  })
})

describe('LinkChannel.reset', () => {
  test('ends both directions at once and fails everything that waits, with its reason on both sides', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    const waiting = [far.receiveMessage(), far.closed.then((error) => error?.reasonName)].map(outcomeOf)
    const unsent = outcomeOf(near.sendMessage(new Uint8Array(400_000)))
    near.reset(refused)
    near.reset()
    await clock.advance(100)
    expect([unsent.now, ...waiting.map(({ now }) => now)]).toEqual(Array.from({ length: 3 }, () => 'REQUEST_FAILED'))
    await expect(near.sendMessage(encode('x'))).rejects.toMatchObject({ reasonName: 'REQUEST_FAILED' })
    await expect(near.end()).rejects.toMatchObject({ reasonName: 'REQUEST_FAILED' })
  })

  test('drops what was not read', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    void near.sendMessage(encode('unread'))
    await clock.advance(100)
    near.reset()
    await clock.advance(100)
    await expect(far.receiveMessage()).rejects.toMatchObject({ reasonName: 'CHANNEL_CLOSED' })
  })

  test('carries a long text only as far as the frame allows', async () => {
    const { clock, near, far } = await channelPair(MESSAGES)
    near.reset(new MeshError(ErrorReason.REQUEST_FAILED, '€'.repeat(1_000)))
    await clock.advance(100)
    expect(await far.closed).toMatchObject({ reasonName: 'REQUEST_FAILED', message: '€'.repeat(85) })
  })

  test('while the other side still sends does no harm', async () => {
    const { clock, near, far, lower, higher } = await channelPair(MESSAGES, { delayMs: 30 })
    far.onMessage(() => undefined)
    const sends = Array.from({ length: 10 }, () => outcomeOf(near.sendMessage(new Uint8Array(10_000))))
    await clock.advance(1)
    far.reset()
    await clock.advance(1_000)
    expect([lower.link.state, higher.link.state]).toEqual(['open', 'open'])
    expect(sends.every(({ now }) => now !== 'pending')).toBe(true)
  })
})

describe('LinkChannel datagrams', () => {
  test('leave at once, both ways, and are not sent again', async () => {
    const { clock, near, far, lower, higher } = await channelPair(DATAGRAMS)
    const received: (string | undefined)[] = []
    far.onMessage((bytes) => void received.push(text(bytes)))
    near.onMessage((bytes) => void received.push(text(bytes)))
    expect([near.sendDatagram(encode('there')), far.sendDatagram(encode('back'))]).toEqual([true, true])
    lower.deliver = undefined
    expect(near.sendDatagram(encode('lost'))).toBe(true)
    await clock.advance(20_000)
    expect(received.toSorted()).toEqual(['back', 'there'])
    expect(lower.link.stats).toMatchObject({ datagramsSent: 2, datagramsReceived: 1, outstandingFrames: 0 })
    expect(higher.link.stats).toMatchObject({ datagramsSent: 1, datagramsReceived: 1 })
  })

  test('are dropped where there is no room and without a path, and the sender is told', async () => {
    const { near, lower } = await channelPair(DATAGRAMS)
    lower.takesDatagrams = false
    expect(near.sendDatagram(encode('full'))).toBe(false)
    lower.takesDatagrams = true
    lower.link.setPath('relay', { usable: false })
    expect(near.sendDatagram(encode('no path'))).toBe(false)
    expect(lower.link.stats).toMatchObject({ datagramsSent: 0, datagramsDropped: 2 })
  })

  test('wait for a slow reader, the last 256 of them', async () => {
    const { clock, near, far } = await channelPair(DATAGRAMS)
    for (let i = 0; i < 300; i++) near.sendDatagram(encode(`${i}`))
    await clock.advance(10)
    expect(text(await far.receiveMessage())).toBe('44')
  })

  test('that come before their channel, or after its end, are dropped without harm', async () => {
    const { clock, near, far, lower, higher } = await channelPair(DATAGRAMS)
    const early = lower.link.openChannel({ topic: topicOf(1), name: 'early', kind: DATAGRAMS })
    early.sendDatagram(encode('overtakes the opening'))
    void far.end()
    await clock.advance(50)
    expect(() => far.sendDatagram(encode('late'))).toThrow(expect.objectContaining({ reasonName: 'CHANNEL_CLOSED' }))
    expect(near.sendDatagram(encode('still'))).toBe(true)
    near.reset()
    await clock.advance(50)
    expect([higher.link.state, text(await far.receiveMessage().catch(() => undefined))]).toEqual(['open', undefined])
  })

  test('travel by streams too', async () => {
    const { near, far, clock } = await channelPair(DATAGRAMS)
    const reader = far.readable.getReader()
    const writer = near.writable.getWriter()
    await writer.write(encode('by stream'))
    await clock.advance(10)
    expect(text((await reader.read()).value)).toBe('by stream')
    await expect(writer.write(new Uint8Array(1_025))).rejects.toMatchObject({ reasonName: 'MESSAGE_TOO_LARGE' })
  })

  test('are refused when empty, over 1,024 bytes, and on channels of other kinds', async () => {
    const { near } = await channelPair(DATAGRAMS)
    const { near: messages } = await channelPair(MESSAGES)
    const refusal = (run: () => unknown) => {
      try {
        return run()
      } catch (error) {
        return (error as MeshError).reasonName
      }
    }
    expect(refusal(() => near.sendDatagram(new Uint8Array(1_025)))).toBe('MESSAGE_TOO_LARGE')
    expect(refusal(() => near.sendDatagram(new Uint8Array()))).toBe('INVALID_ARGUMENT')
    expect(refusal(() => messages.sendDatagram(encode('x')))).toBe('INVALID_ARGUMENT')
    await expect(near.sendMessage(encode('x'))).rejects.toMatchObject({ reasonName: 'INVALID_ARGUMENT' })
  })

  test.each<[string, Frame['body']]>([
    ['data on their channel', { case: 'data', value: create(ChannelDataSchema, { channel: 2, data: encode('x') }) }],
    ['credit on their channel', { case: 'credit', value: create(ChannelCreditSchema, { channel: 2, credit: 1n }) }],
  ])('end the link with FRAME_INVALID when there is %s', async (_, body) => {
    const { higher } = await channelPair(DATAGRAMS)
    higher.link.receive('relay', create(PacketBodySchema, { frames: [create(FrameSchema, { seq: 2n, body })] }))
    expect(higher.closings[0]?.error.reasonName).toBe('FRAME_INVALID')
  })

  test('end the link with FRAME_INVALID on a channel of another kind', async () => {
    const { higher } = await channelPair(MESSAGES)
    const value = create(DatagramSchema, { channel: 2, data: encode('x') })
    higher.link.receive(
      'relay',
      create(PacketBodySchema, { frames: [create(FrameSchema, { body: { case: 'datagram', value } })] }),
    )
    expect(higher.closings[0]?.error.reasonName).toBe('FRAME_INVALID')
  })
})
