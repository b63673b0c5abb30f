import { createSocket } from 'node:dgram'
import { MeshError, VirtualClock } from '@mesh/core'
import { afterEach, describe, expect, test } from 'vitest'
import type { RtcConnection, RtcIceCandidateInit } from '../../connection/rtc.ts'
import { weriftFactory } from './factory.ts'
import {
  candidateAddress,
  connect,
  createHardened,
  expectAlive,
  inState,
  negotiate,
  nextMessage,
  opened,
  type Pair,
} from './loopback-pair.fixture.ts'

const open: RtcConnection[] = []
afterEach(() => {
  for (const connection of open.splice(0)) connection.close()
})

const CHANNEL = { negotiated: true, id: 0, ordered: true } as const

async function hardened(): Promise<RtcConnection> {
  const connection = await createHardened()
  open.push(connection)
  return connection
}

async function hardenedPair(): Promise<Pair<RtcConnection, RtcConnection>> {
  return connect(await hardened(), await hardened())
}

/** The reason of the MeshError a call throws or rejects with. */
async function reasonOf(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    if (error instanceof MeshError) return error.reasonName
    throw error
  }
  return 'none'
}

describe('A hardened pair', () => {
  test('carries messages both ways when connected', async () => {
    const pair = await hardenedPair()
    await expectAlive(pair)
    expect(await inState(pair.left, 'connected')).toBe('connected')
    expect(pair.left.iceConnectionState).toBe('connected')
  })

  test('carries messages of every size up to 64 KiB intact', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    for (const size of [1, 2, 1163, 1164, 1165, 16_384, 65_535, 65_536]) {
      const sent = Uint8Array.from({ length: size }, (_, index) => (index * 31 + size) & 255)
      const received = nextMessage(rightChannel)
      leftChannel.send(sent)
      expect(Buffer.from(await received).equals(sent)).toBe(true)
    }
  })

  test('delivers thousands of messages in order', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    const numbers: number[] = []
    const done = new Promise<void>((resolve) =>
      rightChannel.addEventListener('message', ({ data }) => {
        numbers.push(new DataView(data as ArrayBuffer).getUint32(0))
        if (numbers.length === 3000) resolve()
      }),
    )
    for (let number = 0; number < 3000; number += 1) {
      const bytes = new Uint8Array(4 + (number % 700))
      new DataView(bytes.buffer).setUint32(0, number)
      leftChannel.send(bytes)
    }
    await done
    expect(numbers).toEqual(Array.from({ length: 3000 }, (_, index) => index))
  })

  test('serves channels in turn when one has much to say', async () => {
    const left = await hardened()
    const right = await hardened()
    const busy = left.createDataChannel('busy', { ...CHANNEL, id: 1 })
    const busyFar = right.createDataChannel('busy', { ...CHANNEL, id: 1 })
    const { leftChannel, rightChannel } = await connect(left, right)
    await Promise.all([opened(busy), opened(busyFar)])
    for (let count = 0; count < 200; count += 1) busy.send(new Uint8Array(65_536))
    let busyBytes = 0
    busyFar.addEventListener('message', ({ data }) => {
      busyBytes += (data as ArrayBuffer).byteLength
    })
    const small = nextMessage(rightChannel)
    leftChannel.send(new Uint8Array(100))
    await small
    expect(busyBytes).toBeLessThan(20 * 65_536)
  })
})

describe('A connection', () => {
  test('offers loopback candidates and ends them with null', async () => {
    const connection = await hardened()
    connection.createDataChannel('mesh', CHANNEL)
    const candidates: (RtcIceCandidateInit | null)[] = []
    const ended = new Promise<void>((resolve) =>
      connection.addEventListener('icecandidate', ({ candidate }) => {
        candidates.push(candidate)
        if (candidate === null) resolve()
      }),
    )
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    await ended
    expect(candidates.filter((candidate) => candidate === null)).toHaveLength(1)
    expect(candidates[0]).toMatchObject({ sdpMid: '0', sdpMLineIndex: 0 })
    expect(candidates[0]!.candidate).toMatch(/^candidate:\S+ 1 udp [0-9]+ 127\.0\.0\.1 [0-9]+ typ host/)
  })

  test('applies its description before a STUN server that never answers has been given up', async () => {
    const silent = createSocket('udp4')
    await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve))
    const factory = weriftFactory({ hostAddresses: ['127.0.0.1'], clock: new VirtualClock() })
    const connection = await factory.create({
      iceServers: [{ urls: `turn:127.0.0.1:${silent.address().port}`, username: 'u', credential: 'c' }],
    })
    open.push(connection)
    connection.createDataChannel('mesh', CHANNEL)
    // The clock stands still: this resolves only if nothing is waited for.
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    silent.close()
  })

  test('reports an icecandidateerror when the TURN server does not answer', async () => {
    const silent = createSocket('udp4')
    await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve))
    const clock = new VirtualClock()
    const connection = await weriftFactory({ hostAddresses: ['127.0.0.1'], clock }).create({
      iceServers: [{ urls: `turn:127.0.0.1:${silent.address().port}`, username: 'u', credential: 'c' }],
    })
    open.push(connection)
    connection.createDataChannel('mesh', CHANNEL)
    const reported = new Promise<number>((resolve) =>
      connection.addEventListener('icecandidateerror', ({ errorCode }) => resolve(errorCode)),
    )
    const asked = new Promise<void>((resolve) => silent.once('message', () => resolve()))
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    await asked
    await clock.advance(5000)
    expect(await reported).toBe(701)
    silent.close()
  })

  test('asks the TURN server, offers nothing of its own and refuses to do without one under the relay policy', async () => {
    const server = createSocket('udp4')
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve))
    const factory = weriftFactory({ hostAddresses: ['127.0.0.1'] })
    const connection = await factory.create({
      iceServers: [{ urls: `turn:127.0.0.1:${server.address().port}`, username: 'u', credential: 'c' }],
      iceTransportPolicy: 'relay',
    })
    open.push(connection)
    connection.createDataChannel('mesh', CHANNEL)
    let candidates = 0
    connection.addEventListener('icecandidate', () => {
      candidates += 1
    })
    const asked = new Promise<Buffer>((resolve) => server.once('message', resolve))
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    // Allocate (RFC 8656 section 3.1).
    expect((await asked).readUInt16BE(0)).toBe(0x0003)
    expect(candidates).toBe(0)
    server.close()
    expect(await reasonOf(() => factory.create({ iceServers: [], iceTransportPolicy: 'relay' }))).toBe('NO_CANDIDATES')
  })

  test('is not held up by a candidate whose name nobody resolves', async () => {
    const left = await hardened()
    const right = await hardened()
    left.createDataChannel('mesh', CHANNEL)
    await left.addIceCandidate({
      candidate: 'candidate:1 1 udp 2113937151 5d9a2b3c-0000-4000-8000-000000000000.local 50000 typ host',
    })
    left.close()
    await expectAlive(await connect(await hardened(), right))
  })

  test('refuses a candidate that is none, and more of them than anybody has', async () => {
    const connection = await hardened()
    expect(await reasonOf(() => connection.addIceCandidate({ candidate: 'nonsense' }))).toBe('INVALID_ARGUMENT')
    const add = (port: number) =>
      connection.addIceCandidate({ candidate: `candidate:1 1 udp 1 127.0.0.1 ${port} typ host` })
    for (let port = 1; port <= 64; port += 1) await add(port)
    expect(await reasonOf(() => add(65))).toBe('LIMIT_EXCEEDED')
  })

  test('fails when it has not come about in time', async () => {
    const clock = new VirtualClock()
    const factory = weriftFactory({ hostAddresses: ['127.0.0.1'], clock, connectTimeoutMs: 10_000 })
    const connection = await factory.create({ iceServers: [] })
    open.push(connection)
    connection.createDataChannel('mesh', CHANNEL)
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    await clock.advance(9999)
    expect(connection.connectionState).not.toBe('failed')
    await clock.advance(1)
    expect(connection.connectionState).toBe('failed')
    expect(connection.iceConnectionState).toBe('failed')
  })

  test('is closed at once, twice without harm, and rejects what comes after', async () => {
    const { left, leftChannel } = await hardenedPair()
    left.close()
    left.close()
    expect(left.connectionState).toBe('closed')
    expect(leftChannel.readyState).toBe('closed')
    expect(await reasonOf(() => left.createOffer())).toBe('LINK_CLOSED')
    expect(await reasonOf(() => left.createDataChannel('x', { ...CHANNEL, id: 2 }))).toBe('LINK_CLOSED')
    expect(await reasonOf(() => leftChannel.send(new Uint8Array(1)))).toBe('CHANNEL_CLOSED')
  })

  test('frees its UDP port when closed', async () => {
    const left = await hardened()
    let address: { host: string; port: number } | undefined
    left.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate) address = candidateAddress(candidate.candidate)
    })
    await connect(left, await hardened())
    left.close()
    await expect
      .poll(async () => {
        const socket = createSocket('udp4')
        const bound = await new Promise<boolean>((resolve) => {
          socket.once('error', () => resolve(false))
          socket.bind(address!.port, '127.0.0.1', () => resolve(true))
        })
        socket.close()
        return bound
      })
      .toBe(true)
  })

  test('refuses to be negotiated a second time', async () => {
    const { right } = await hardenedPair()
    const again = { type: 'offer' as const, sdp: '' }
    expect(await reasonOf(() => right.setRemoteDescription(again))).toBe('NOT_SUPPORTED')
  })

  test.each<[string, (sdp: string) => string]>([
    ['two fingerprints', (sdp) => sdp.replace(/(a=fingerprint:[^\r]+\r\n)/, '$1$1')],
    [
      'a SHA-1 fingerprint',
      (sdp) => sdp.replace(/a=fingerprint:[^\r]+/, `a=fingerprint:sha-1 ${Array(20).fill('AB').join(':')}`),
    ],
    ['no fingerprint', (sdp) => sdp.replace(/a=fingerprint:[^\r]+\r\n/, '')],
  ])('refuses a description with %s', async (_, change) => {
    const left = await hardened()
    left.createDataChannel('mesh', CHANNEL)
    const offer = await left.createOffer()
    const right = await hardened()
    const changed = { type: 'offer' as const, sdp: change(offer.sdp!) }
    expect(changed.sdp).not.toBe(offer.sdp)
    expect(await reasonOf(() => right.setRemoteDescription(changed))).toBe('DTLS_FAILED')
  })

  test('does not let a listener that throws stop the connection', async () => {
    const left = await hardened()
    left.addEventListener('icecandidate', () => {
      throw new Error('from the application')
    })
    left.addEventListener('connectionstatechange', () => {
      throw new Error('from the application')
    })
    await expectAlive(await connect(left, await hardened()))
  })
})

describe('A data channel', () => {
  test('announces that it is open exactly once', async () => {
    const left = await hardened()
    const pair = await negotiate(left, await hardened())
    let count = 0
    pair.leftChannel.addEventListener('open', () => {
      count += 1
    })
    await opened(pair.rightChannel)
    await opened(pair.leftChannel)
    await expectAlive(pair)
    expect(count).toBe(1)
  })

  test('opens with an event when it is created on a standing connection', async () => {
    const { left, right } = await hardenedPair()
    const near = left.createDataChannel('late', { ...CHANNEL, id: 5 })
    const far = right.createDataChannel('late', { ...CHANNEL, id: 5 })
    expect(near.readyState).toBe('connecting')
    await Promise.all([opened(near), opened(far)])
    const received = nextMessage(far)
    near.send(new Uint8Array([7]))
    expect(await received).toEqual(new Uint8Array([7]))
  })

  test.each<[string, string, (channel: { send(data: Uint8Array): void }) => void]>([
    ['an empty message', 'INVALID_ARGUMENT', (channel) => channel.send(new Uint8Array(0))],
    ['a message above 64 KiB', 'MESSAGE_TOO_LARGE', (channel) => channel.send(new Uint8Array(65_537))],
  ])('refuses %s', async (_, reason, send) => {
    const { leftChannel } = await hardenedPair()
    expect(await reasonOf(() => send(leftChannel))).toBe(reason)
  })

  test('refuses to send before it is open and when too much is waiting', async () => {
    const left = await hardened()
    const early = left.createDataChannel('early', { ...CHANNEL, id: 3 })
    expect(await reasonOf(() => early.send(new Uint8Array(1)))).toBe('CHANNEL_CLOSED')
    const { leftChannel } = await hardenedPair()
    const fill = () => {
      for (let count = 0; count < 300; count += 1) leftChannel.send(new Uint8Array(65_536))
    }
    expect(await reasonOf(fill)).toBe('LIMIT_EXCEEDED')
  })

  test.each(['é', 'a\nb', 'x'.repeat(256)])('refuses the label %j', async (label) => {
    const connection = await hardened()
    expect(await reasonOf(() => connection.createDataChannel(label, CHANNEL))).toBe('INVALID_ARGUMENT')
  })

  test('refuses an id that is in use or out of range', async () => {
    const connection = await hardened()
    connection.createDataChannel('mesh', CHANNEL)
    for (const id of [0, -1, 65_535, 1.5]) {
      expect(await reasonOf(() => connection.createDataChannel('x', { ...CHANNEL, id }))).toBe('INVALID_ARGUMENT')
    }
  })

  test('counts what is buffered and says when it has fallen to the threshold', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    leftChannel.bufferedAmountLowThreshold = 10_000
    let lowCount = 0
    const low = new Promise<void>((resolve) =>
      leftChannel.addEventListener('bufferedamountlow', () => {
        lowCount += 1
        expect(leftChannel.bufferedAmount).toBeLessThanOrEqual(10_000)
        resolve()
      }),
    )
    let received = 0
    const all = new Promise<void>((resolve) =>
      rightChannel.addEventListener('message', () => {
        received += 1
        if (received === 20) resolve()
      }),
    )
    for (let count = 0; count < 20; count += 1) leftChannel.send(new Uint8Array(50_000))
    expect(leftChannel.bufferedAmount).toBe(1_000_000)
    await low
    await all
    expect(leftChannel.bufferedAmount).toBe(0)
    expect(lowCount).toBe(1)
  })

  test('copies what it is given, so that the caller may reuse its buffer', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    const bytes = new Uint8Array([1, 2, 3])
    const received = nextMessage(rightChannel)
    leftChannel.send(bytes)
    bytes.fill(9)
    expect(await received).toEqual(new Uint8Array([1, 2, 3]))
  })

  test('delivers ArrayBuffers of their own and knows no other binaryType', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    const received = new Promise<unknown>((resolve) =>
      rightChannel.addEventListener('message', ({ data }) => resolve(data)),
    )
    leftChannel.send(new Uint8Array([1, 2]))
    const data = await received
    expect(data).toBeInstanceOf(ArrayBuffer)
    expect((data as ArrayBuffer).byteLength).toBe(2)
    rightChannel.binaryType = 'arraybuffer'
    expect(
      await reasonOf(() => {
        rightChannel.binaryType = 'blob'
      }),
    ).toBe('NOT_SUPPORTED')
  })

  test('delivers all that is queued before it closes on both sides', async () => {
    const { leftChannel, rightChannel } = await hardenedPair()
    let received = 0
    rightChannel.addEventListener('message', ({ data }) => {
      received += (data as ArrayBuffer).byteLength
    })
    const closed = [leftChannel, rightChannel].map(
      (channel) => new Promise<void>((resolve) => channel.addEventListener('close', resolve)),
    )
    for (let count = 0; count < 40; count += 1) leftChannel.send(new Uint8Array(60_000))
    leftChannel.close()
    leftChannel.close()
    expect(leftChannel.readyState).toBe('closing')
    await Promise.all(closed)
    expect(received).toBe(40 * 60_000)
    expect(leftChannel.readyState).toBe('closed')
    expect(rightChannel.readyState).toBe('closed')
  })
})
