import { ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
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

const { MESSAGES, BYTES, REQUEST } = ChannelKind
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
