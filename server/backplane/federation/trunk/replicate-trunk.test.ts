import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import { create } from '@bufbuild/protobuf'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { ErrorReason, type SigningKey, systemClock } from '@mesh/core'
import { Channel, FederationService, FrameSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import { resolveLimits } from '../../../limits/server-limits.ts'
import { refusalOf } from '../../../testing/reason-of.ts'
import { selfSigned } from '../../../testing/self-signed.ts'
import { eventually } from '../../../testing/serve.ts'
import { MessageSplitter } from '../../../wire/message-splitter.ts'
import { decodeMessage } from './message-decoder.ts'
import { encodeMessage } from './message-encoder.ts'
import { ReplicateConnection, WINDOW_BYTES } from './replicate-connection.ts'
import { type Lane, type LoopbackOptions, LoopbackServer, Relay } from './replicate-trunk.fixture.ts'
import { ReplicateTrunk } from './replicate-trunk.ts'
import { headSeqs, RawServer, rowsFrame, serverKeys, stateFrame } from './trunk.fixture.ts'

let keys: { low: SigningKey; high: SigningKey; stranger: SigningKey }
const closing: (() => Promise<unknown>)[] = []
/** By which calls come in. */
let lane: Lane = 'fast'

beforeAll(async () => {
  keys = await serverKeys()
})

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function listen(key: SigningKey, options: LoopbackOptions = {}): Promise<LoopbackServer> {
  const server = await LoopbackServer.listen(key, { lane, ...options })
  closing.push(() => server.stop())
  return server
}

/** `high` listens and `low` calls it, under an address of its own if given. */
async function pair(
  options: LoopbackOptions = {},
  url = (high: LoopbackServer): string => high.url,
): Promise<{ low: LoopbackServer; high: LoopbackServer }> {
  const high = await listen(keys.high, { ...options, allowed: new Set([byteKey(keys.low.publicKey)]) })
  const low = await listen(keys.low, { ...options, addresses: [{ key: keys.high.publicKey, url: url(high) }] })
  low.test.neighbours.start()
  return { low, high }
}

const bothUp =
  ({ low, high }: { low: LoopbackServer; high: LoopbackServer }) =>
  (): boolean =>
    low.test.isUp && high.test.isUp

const LANES: readonly Lane[] = ['fast', 'full']

describe.each(LANES)('two servers on real connections, in the %s lane', (which) => {
  beforeEach(() => {
    lane = which
  })

  test('are connected on both channels, each with a connection of its own, and frames go both ways', async () => {
    const servers = await pair()
    const { low, high } = servers
    await eventually(bothUp(servers))
    expect(high.listener.guard.size).toBe(2)
    low.test.send(keys.high, stateFrame(1), stateFrame(2))
    high.test.send(keys.low, stateFrame(3))
    await eventually(() => high.test.directory.received.length === 2 && low.test.directory.received.length === 1)
    expect(headSeqs(high.test.directory.received)).toEqual([1, 2])
    await eventually(() => (low.test.neighbours.status()[0]?.rttMs ?? 0) > 0)
  })

  test('carry in order whatever the channels have, as far as the other keeps up', async () => {
    const limits = { federationRecordsPerSecond: 1_000_000, federationRecordsBurst: 1_000_000 }
    const servers = await pair({ limits })
    await eventually(bothUp(servers))
    // 50 MB: many times the windows, the credit and the buffers.
    const frames = Array.from({ length: 500 }, (_, seq) => [rowsFrame(100, 1_000), stateFrame(seq)]).flat()
    servers.low.test.send(keys.high, ...frames)
    const { received } = servers.high.test.directory
    await eventually(() => received.length === 1_000)
    expect(headSeqs(received).filter((seq) => seq >= 0)).toEqual(Array.from({ length: 500 }, (_, seq) => seq))
  })

  test('work over TLS with a certificate of their own authority, and not without it', async () => {
    const tls = selfSigned()
    const trusting = await pair({ tls, ca: tls.cert })
    await eventually(bothUp(trusting))
    const doubting = await pair({ tls })
    await eventually(() => doubting.low.test.neighbours.status()[0]?.lastError !== undefined)
    expect(doubting.low.test.neighbours.status()[0]?.lastError).toMatch(/^UNREACHABLE: .*certificate/i)
  })

  test('stay connected longer than a stranger could', async () => {
    const servers = await pair({ limits: { unauthenticatedMs: 100, http2BodyMs: 100 } })
    await eventually(bothUp(servers))
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(bothUp(servers)()).toBe(true)
    expect(servers.low.test.directory.events).toEqual(['up'])
  })

  test('tell the reason when one refuses the other', async () => {
    const high = await listen(keys.high)
    const low = await listen(keys.low, { addresses: [{ key: keys.high.publicKey, url: high.url }] })
    low.test.neighbours.start()
    await eventually(() => low.test.neighbours.status()[0]?.lastError !== undefined)
    expect(low.test.neighbours.status()[0]?.lastError).toMatch(/^NODE_NOT_ALLOWED/)
    await eventually(() => high.listener.guard.size === 0)
  })

  test('part in order when one stops: what was ready arrives, and why', async () => {
    const servers = await pair()
    const { low, high } = servers
    await eventually(bothUp(servers))
    high.test.directory.outgoing.push(stateFrame(9))
    await high.stop()
    await eventually(() => !low.test.directory.isUp && !low.test.messages.isUp)
    expect(headSeqs(low.test.directory.received)).toEqual([9])
    expect(low.test.directory.errors).toEqual([ErrorReason.DRAINING])
    expect(low.test.messages.errors).toEqual([ErrorReason.DRAINING])
  })

  test('find each other again when one was killed and is back', async () => {
    const high = await LoopbackServer.listen(keys.high, { lane, allowed: new Set([byteKey(keys.low.publicKey)]) })
    const low = await listen(keys.low, { addresses: [{ key: keys.high.publicKey, url: high.url }] })
    low.test.neighbours.start()
    await eventually(bothUp({ low, high }))
    await high.kill()
    await eventually(() => !low.test.directory.isUp && !low.test.messages.isUp)
    expect(low.test.directory.errors).toEqual([ErrorReason.UNREACHABLE])
    const again = await listen(keys.high, { port: high.port, allowed: new Set([byteKey(keys.low.publicKey)]) })
    await eventually(bothUp({ low, high: again }))
  })

  test('notice a line that went silent by their pings, on both sides, and come back', async () => {
    let target = 0
    const relay = await Relay.to(() => target)
    closing.push(() => relay.close())
    const options = { limits: { federationPingMs: 100 }, relayPorts: [relay.port] }
    const servers = await pair(options, (high) => {
      target = high.port
      return `http://127.0.0.1:${relay.port}`
    })
    const { low, high } = servers
    await eventually(bothUp(servers))
    relay.silence()
    const silentMs = performance.now()
    await eventually(() => !low.test.directory.isUp && !high.test.directory.isUp)
    expect(performance.now() - silentMs).toBeGreaterThan(150)
    expect([low.test.directory.errors, high.test.directory.errors]).toEqual([
      [ErrorReason.UNREACHABLE],
      [ErrorReason.UNREACHABLE],
    ])
    relay.restore()
    await eventually(bothUp(servers))
  })
})

test('a table that fills a slow line for many pings does not make either side take the other for dead', async () => {
  let target = 0
  const relay = await Relay.to(() => target)
  closing.push(() => relay.close())
  const limits = { federationPingMs: 100 }
  const options = { limits, relayPorts: [relay.port] }
  const servers = await pair(options, (high) => {
    target = high.port
    return `http://127.0.0.1:${relay.port}`
  })
  const { low, high } = servers
  await eventually(bothUp(servers))
  relay.slow(300_000)
  low.test.send(keys.high, ...[1, 2, 3, 4].map(() => rowsFrame(100, 1_000)))
  await eventually(() => high.test.directory.received.length === 4)
  expect([low.test.directory.events, high.test.directory.events]).toEqual([['up'], ['up']])
})

test('a call to a server that does not answer as one fails as unreachable', async () => {
  const trunk = new ReplicateTrunk({ limits: resolveLimits(), clock: systemClock })
  const raw = new RawServer(keys.low)
  const stream = trunk.dial({ key: keys.high.publicKey, url: 'http://127.0.0.1:1' }, Channel.DIRECTORY, raw)
  expect(stream.write([stateFrame(1)])).toBe(false)
  await eventually(() => raw.closed !== undefined)
  expect(raw.closed?.error?.reason).toBe(ErrorReason.UNREACHABLE)
  await trunk.close()
  await trunk.close()
})

describe('a GOAWAY that crosses a call', () => {
  /** What a server does with a connection, at the moment that hurts. */
  const moments: [string, (session: ServerHttp2Session) => void][] = [
    ['before it', (session) => session.goaway()],
    ['with an error', (session) => session.goaway(11)],
    ['with the end of the connection', (session) => session.close()],
    ['with the loss of the connection', (session) => session.destroy()],
    ['when it has begun', (session) => session.on('stream', () => session.goaway(0, 0))],
    ['when it has begun, with the end', (session) => session.on('stream', () => session.destroy())],
  ]
  test.each(moments)('ends the call and nothing else: %s', async (_, strike) => {
    const server = createHttp2Server()
    server.on('session', strike)
    server.on('sessionError', () => {})
    server.on('stream', (stream) => stream.on('error', () => {}))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const trunk = new ReplicateTrunk({ limits: resolveLimits({ streamEndMs: 50 }), clock: systemClock })
    const calls = Array.from({ length: 20 }, () => {
      const raw = new RawServer(keys.low)
      raw.stream = trunk.dial({ key: keys.high.publicKey, url: `http://127.0.0.1:${port}` }, Channel.DIRECTORY, raw)
      raw.hello()
      return raw
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (const { stream } of calls) stream?.close()
    await eventually(() => calls.every(({ closed }) => closed !== undefined))
    await trunk.close()
    await new Promise((resolve) => server.close(resolve))
  })
})

test('windows are wide for those who proved themselves, and as usual before', async () => {
  const high = await listen(keys.high, { allowed: new Set([byteKey(keys.low.publicKey)]) })
  const options = { clock: systemClock, limits: resolveLimits(), ca: undefined, onClose: () => {} }
  const connection = new ReplicateConnection(high.url, options)
  closing.push(async () => connection.destroy())
  const call = await connection.call('/mesh.federation.v1.FederationService/Replicate', {
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const { session } = call
  expect([session?.localSettings.initialWindowSize, session?.state.effectiveLocalWindowSize]).toContain(WINDOW_BYTES)
  const theirs = [session?.remoteSettings.initialWindowSize ?? 65_535]
  session?.on('remoteSettings', ({ initialWindowSize }) => theirs.push(initialWindowSize ?? 0))
  const raw = new RawServer(keys.low)
  raw.stream = { write: (frames) => call.write(encodeMessage(frames)), close: () => call.end(), proven: () => {} }
  const splitter = new MessageSplitter()
  call.on('data', (chunk: Uint8Array) => {
    splitter.push(chunk)
    for (let next = splitter.next(); next !== undefined; next = splitter.next()) raw.onFrames(decodeMessage(next.bytes))
  })
  raw.hello()
  await eventually(() => raw.kinds.length === 1)
  expect(theirs.every((size) => size === 65_535)).toBe(true)
  raw.say(await raw.proof())
  await eventually(() => theirs.at(-1) === WINDOW_BYTES)
})

describe.each(LANES)('a stranger on the wire, in the %s lane', (which) => {
  beforeEach(() => {
    lane = which
  })

  const client = (url: string) => createClient(FederationService, createGrpcTransport({ baseUrl: url }))

  test('gets no message through that is larger than any other request', async () => {
    const high = await listen(keys.high)
    const frames = [create(FrameSchema, { frame: { case: 'hello', value: { challenge: new Uint8Array(200_000) } } })]
    const answers = client(high.url).replicate(once({ frames }))[Symbol.asyncIterator]()
    expect(await refusalOf(answers.next())).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'max_request_bytes',
    })
  })

  test('that proved itself gets larger ones through, up to the limit between servers', async () => {
    const high = await listen(keys.high, {
      allowed: new Set([byteKey(keys.low.publicKey)]),
      limits: { federationMaxRequestBytes: 300_000 },
    })
    const trunk = new ReplicateTrunk({ limits: resolveLimits(), clock: systemClock })
    closing.push(() => trunk.close())
    const raw = new RawServer(keys.low)
    raw.stream = trunk.dial({ key: keys.high.publicKey, url: high.url }, Channel.DIRECTORY, raw)
    raw.hello()
    await eventually(() => raw.kinds.length === 1)
    raw.say(await raw.proof())
    await eventually(() => high.test.directory.isUp)
    raw.say(rowsFrame(1, 250_000))
    await eventually(() => high.test.directory.received.length === 1)
    raw.say(rowsFrame(1, 350_000))
    await eventually(() => raw.closed !== undefined)
    expect(raw.closed?.error).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'federation_max_request_bytes',
    })
    expect(high.test.directory.errors).toEqual([ErrorReason.LIMIT_EXCEEDED])
    // Before the pings of the server find out.
    const closedMs = performance.now()
    await eventually(() => high.listener.guard.size === 0)
    expect(performance.now() - closedMs).toBeLessThan(2_000)
  })

  test('that says nothing is cut, and its connection with it', async () => {
    const high = await listen(keys.high, { limits: { federationHandshakeMs: 50, unauthenticatedMs: 100 } })
    const silent = client(high.url).replicate(never())[Symbol.asyncIterator]()
    await expect(silent.next()).resolves.toMatchObject({ value: { frames: [{ frame: { case: 'goaway' } }] } })
    expect(await refusalOf(silent.next())).toMatchObject({ reason: ErrorReason.DEADLINE_EXCEEDED })
    await eventually(() => high.listener.guard.size === 0)
  })

  test('that sends bytes which are no message is told so', async () => {
    const high = await listen(keys.high)
    const response = await garbage(high.url)
    expect(response).toBe('3')
  })
})

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
}

async function* never(): AsyncGenerator<never> {
  await new Promise(() => {})
}

/** The grpc-status that a body of 0xff gets. */
async function garbage(url: string): Promise<string> {
  const { connect } = await import('node:http2')
  const session = connect(url)
  const stream = session.request({
    ':method': 'POST',
    ':path': '/mesh.federation.v1.FederationService/Replicate',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
  })
  stream.end(Uint8Array.of(0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff))
  const status = await new Promise<string>((resolve) => {
    stream.on('response', (headers) => headers['grpc-status'] && resolve(String(headers['grpc-status'])))
    stream.on('trailers', (trailers) => resolve(String(trailers['grpc-status'])))
    stream.resume()
  })
  session.destroy()
  return status
}
