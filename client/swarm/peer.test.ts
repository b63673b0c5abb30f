import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import type { PeerConnection } from '../connection/peer-connection.ts'
import type { LinkChannel } from '../link/index.ts'
import { FAKE_TOPIC, fakeRecord } from '../testing/record.fixture.ts'
import { Peer } from './peer.ts'

let clock: VirtualClock
let peer: Peer
let opened: FakeLinkChannel[]
let connection: PeerConnection
/** What the test says of the connection. */
let way: Record<'lastError' | 'path' | 'alive' | 'heardAtMs' | 'linked', unknown>

/** A channel whose other end is the test. */
class FakeLinkChannel {
  readonly kind: ChannelKind
  readonly name: string
  readonly sent: string[] = []
  state = 'open'
  answer = Promise.withResolvers<Uint8Array | undefined>()
  end = Promise.withResolvers<MeshError | undefined>()

  constructor({ kind, name }: { kind: ChannelKind; name: string }) {
    this.kind = kind
    this.name = name
  }

  get closed(): Promise<MeshError | undefined> {
    return this.end.promise
  }

  async sendMessage(bytes: Uint8Array): Promise<void> {
    this.sent.push(new TextDecoder().decode(bytes))
  }

  receiveMessage({ signal }: { signal: AbortSignal }): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason))
      this.answer.promise.then(resolve, reject)
    })
  }

  reset(error: MeshError): void {
    this.state = 'closed'
    this.end.resolve(error)
  }
}

beforeEach(() => {
  clock = new VirtualClock()
  opened = []
  const openChannel = (options: { kind: ChannelKind; name: string }) => {
    const channel = new FakeLinkChannel(options)
    opened.push(channel)
    return channel as unknown as LinkChannel
  }
  way = { lastError: undefined, path: 'relay', alive: true, heardAtMs: undefined, linked: { link: { openChannel } } }
  connection = way as unknown as PeerConnection
  peer = new Peer({ topic: FAKE_TOPIC, clock, dropped: {} }, fakeRecord())
})

function attach(attached = true): void {
  peer.update({ connection, attached })
}

function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'done',
    (error: MeshError) => error.reasonName,
  )
}

describe('peer', () => {
  it('sends everything on one channel, and on a new one when that ended', async () => {
    attach()
    await Promise.all([peer.send('a'), peer.send('b')])
    expect(opened.map(({ sent }) => sent)).toEqual([['a', 'b']])
    ;(opened[0] as FakeLinkChannel).state = 'closed'
    await peer.send('c')
    expect(opened.map(({ sent }) => sent)).toEqual([['a', 'b'], ['c']])
  })

  it('holds messages until there is a link, and lets none overtake them', async () => {
    const waiting = [peer.send('a'), peer.send('b', { signal: new AbortController().signal })]
    expect(opened).toEqual([])
    attach()
    const later = peer.send('c')
    await Promise.all([...waiting, later])
    expect(opened.map(({ sent }) => sent)).toEqual([['a', 'b', 'c']])
    expect(clock.pending).toBe(0)
  })

  it('uses a new channel after the link was another one', async () => {
    attach()
    await peer.send('a')
    attach(false)
    attach()
    await peer.send('b')
    expect(opened.map(({ sent }) => sent)).toEqual([['a'], ['b']])
  })

  it('gives up after 15 s without a link, saying why there is none', async () => {
    const silent = outcome(peer.send('a'))
    await clock.advance(15_000)
    expect(await silent).toBe('LINK_TIMEOUT')
    const refused = peer.send('b').catch((error: MeshError) => error)
    const lastError = new MeshError(ErrorReason.LINK_REFUSED, 'no room')
    peer.update({ connection: { ...connection, lastError } as unknown as PeerConnection })
    await clock.advance(15_000)
    expect(await refused).toBe(lastError)
  })

  it('fails what waits when the peer left, and everything after', async () => {
    const waiting = outcome(peer.send('a'))
    peer.leave(new MeshError(ErrorReason.PEER_LEFT, 'gone'))
    expect(await waiting).toBe('PEER_LEFT')
    expect(await outcome(peer.send('b'))).toBe('PEER_LEFT')
    expect(await outcome(peer.open('file'))).toBe('PEER_LEFT')
    expect(await outcome(peer.request('c'))).toBe('PEER_LEFT')
    expect(clock.pending).toBe(0)
  })

  it('lets go of a message that is aborted while it waits', async () => {
    const controller = new AbortController()
    const aborted = outcome(peer.send('a', { signal: controller.signal }))
    controller.abort()
    expect(await aborted).toBe('ABORTED')
    expect(await outcome(peer.send('b', { signal: AbortSignal.abort() }))).toBe('ABORTED')
    attach()
    await peer.send('c')
    expect(opened.map(({ sent }) => sent)).toEqual([['c']])
    expect(clock.pending).toBe(0)
  })

  it('holds 1,024 messages and refuses the next', async () => {
    const waiting = Array.from({ length: 1_024 }, () => outcome(peer.send('x')))
    await expect(peer.send('one too many')).rejects.toMatchObject({ limit: 'waiting_messages', retryable: true })
    attach()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['done']))
    expect(opened[0]?.sent).toHaveLength(1_024)
  })

  it('asks on a channel of its own and gives the answer', async () => {
    attach()
    const answer = peer.request('question')
    expect(opened.map(({ kind, sent }) => [kind, sent])).toEqual([[ChannelKind.REQUEST, ['question']]])
    opened[0]?.answer.resolve(new TextEncoder().encode('answer'))
    expect((await answer).text()).toBe('answer')
    expect(clock.pending).toBe(0)
  })

  it('gives a request up at its deadline, when aborted, refused, or ended without an answer', async () => {
    attach()
    const late = outcome(peer.request('a', { timeoutMs: 500 }))
    await clock.advance(500)
    expect(await late).toBe('DEADLINE_EXCEEDED')
    expect(opened[0]?.state).toBe('closed')
    const controller = new AbortController()
    const aborted = outcome(peer.request('b', { signal: controller.signal }))
    controller.abort()
    expect(await aborted).toBe('ABORTED')
    const refused = outcome(peer.request('c'))
    opened[2]?.end.resolve(new MeshError(ErrorReason.REQUEST_FAILED, 'no'))
    expect(await refused).toBe('REQUEST_FAILED')
    const silent = outcome(peer.request('d'))
    opened[3]?.answer.resolve(undefined)
    expect(await silent).toBe('REQUEST_FAILED')
    expect(clock.pending).toBe(0)
  })

  it('counts the wait for a link in the deadline of a request', async () => {
    const late = outcome(peer.request('a', { timeoutMs: 5_000 }))
    await clock.advance(5_000)
    expect(await late).toBe('DEADLINE_EXCEEDED')
    expect(clock.pending).toBe(0)
  })

  it('opens named channels of bytes or messages, and never the unnamed one of messages', async () => {
    attach()
    expect((await peer.open('file')).name).toBe('file')
    await peer.open('log', { kind: 'messages' })
    expect(opened.map(({ kind }) => kind)).toEqual([ChannelKind.BYTES, ChannelKind.MESSAGES])
    expect(await outcome(peer.open('', { kind: 'messages' }))).toBe('INVALID_ARGUMENT')
  })

  it('shows the newest record, and knows news from a refreshed record', () => {
    expect(peer.update({ record: fakeRecord({ seq: 3, state: Uint8Array.of(3) }) })).toBe(true)
    expect(peer.update({ record: fakeRecord({ seq: 2, state: Uint8Array.of(2) }) })).toBe(false)
    expect(peer.state).toEqual(Uint8Array.of(3))
    expect(peer.update({ record: fakeRecord({ seq: 4, state: Uint8Array.of(3) }) })).toBe(false)
    expect(peer.update({ record: fakeRecord({ seq: 5, session: 2, state: Uint8Array.of(3) }) })).toBe(false)
    const restarted = fakeRecord({ seq: 1, session: 3, order: 2n << 20n, state: Uint8Array.of(3) })
    expect(peer.update({ record: restarted })).toBe(true)
  })
})
