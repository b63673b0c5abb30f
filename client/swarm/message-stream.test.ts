import { ErrorReason } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Message, receivedMessage } from './message.ts'
import { MessageStream } from './message-stream.ts'
import type { Peer } from './peer.ts'

let stream: MessageStream

beforeEach(() => {
  stream = new MessageStream()
})

function message(text: string): Message {
  return receivedMessage({} as Peer, new TextEncoder().encode(text))
}

async function nextText(iterator: AsyncIterator<Message>): Promise<string | undefined> {
  const { done, value } = await iterator.next()
  return done ? undefined : (value as Message).text()
}

async function isPending(promise: Promise<unknown> | undefined): Promise<boolean> {
  return (await Promise.race([promise, new Promise((resolve) => setImmediate(() => resolve('pending')))])) === 'pending'
}

describe('message stream', () => {
  it('gives every iterator everything from the moment it was asked for', async () => {
    const first = stream.read(undefined)
    void stream.push(message('a'))
    const second = stream.read(undefined)
    void stream.push(message('b'))
    expect([await nextText(first), await nextText(first)]).toEqual(['a', 'b'])
    expect(await nextText(second)).toBe('b')
  })

  it('wakes a loop that waits', async () => {
    const iterator = stream.read(undefined)
    const next = nextText(iterator)
    void stream.push(message('late'))
    expect(await next).toBe('late')
  })

  it('holds senders back when an iterator is 1,024 messages behind, until it caught up', async () => {
    const iterator = stream.read(undefined)
    for (let i = 0; i < 1_023; i++) expect(stream.push(message(String(i)))).toBeUndefined()
    const held = stream.push(message('1023'))
    expect(await isPending(held)).toBe(true)
    expect(await nextText(iterator)).toBe('0')
    expect(await isPending(held)).toBe(false)
  })

  it('holds nobody back for an iterator that was left, or never begun and left', async () => {
    const [left, begun] = [stream.read(undefined), stream.read(undefined)]
    void begun.next()
    let held: Promise<void> | undefined
    for (let i = 0; i < 1_025; i++) held = stream.push(message('x'))
    expect(await isPending(held)).toBe(true)
    await left.return?.()
    await begun.return?.()
    expect(await isPending(held)).toBe(false)
    expect(stream.push(message('y'))).toBeUndefined()
    expect((await left.next()).done).toBe(true)
  })

  it('lets a loop that waits be left', async () => {
    const iterator = stream.read(undefined)
    const next = iterator.next()
    await iterator.return?.()
    expect((await next).done).toBe(true)
  })

  it('throws ABORTED, at once also when aborted before, and holds nobody back afterwards', async () => {
    const controller = new AbortController()
    const iterator = stream.read(controller.signal)
    const next = iterator.next()
    controller.abort()
    await expect(next).rejects.toMatchObject({ reason: ErrorReason.ABORTED })
    await expect(stream.read(AbortSignal.abort()).next()).rejects.toMatchObject({ reason: ErrorReason.ABORTED })
    for (let i = 0; i < 2_000; i++) expect(stream.push(message('x'))).toBeUndefined()
  })

  it('ends every iterator after what it holds, and releases senders', async () => {
    const iterator = stream.read(undefined)
    const waiting = stream.read(undefined)
    void stream.push(message('last'))
    await nextText(waiting)
    const next = waiting.next()
    stream.end()
    expect((await next).done).toBe(true)
    expect(await nextText(iterator)).toBe('last')
    expect((await iterator.next()).done).toBe(true)
    expect((await stream.read(undefined).next()).done).toBe(true)
  })
})
