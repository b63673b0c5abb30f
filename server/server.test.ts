import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { get as getHttps } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { promisify } from 'node:util'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { ErrorReason, generateSigningKey, systemRandom, VirtualClock } from '@mesh/core'
import { Health, HealthCheckResponse_ServingStatus as Status } from '@mesh/protocol/grpc/health/v1/health_pb'
import { FederationService } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { NoticeKind, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { createServer, type LogLevel } from '@mesh/server'
import { describe, expect, test } from 'vitest'
import { refusalOf } from './testing/reason-of.ts'
import { selfSigned } from './testing/self-signed.ts'
import { eventually, useServers } from './testing/serve.ts'
import { isPlain, TestPeer, transportOf, WIRES } from './testing/test-peer.ts'

const serve = useServers()
const [CONNECT_H2] = WIRES as [(typeof WIRES)[number]]
/** Those of the fast lane; in the full one Connect reads on until the stream's end is cut short. */
const EXCHANGE_WIRES = WIRES.filter((wire) => isPlain(wire) && wire.httpVersion === '2' && wire.protocol !== 'grpc-web')

describe('the life of a server', () => {
  test('starts and stops many times, keeps its key and forgets its sessions', async () => {
    const { server } = await serve()
    const key = await server.publicKey
    let token = ''
    for (let round = 0; round < 5; round++) {
      const { origin } = await server.listen()
      const peer = await TestPeer.open({ origin })
      expect(peer.serverKey).toEqual(key)
      const before = Object.assign(await TestPeer.create({ origin }), { token })
      if (token !== '') expect(await refusalOf(before.client.closeSession({}, before.auth))).toBeDefined()
      token = peer.token
      expect(server.stats()).toMatchObject({ sessions: 1 })
      await server.close({ drainMs: 0 })
      expect(server.stats()).toMatchObject({ sessions: 0, connections: 0 })
    }
  })

  test('listen twice is one listening server, close twice is one close, close before listen is nothing', async () => {
    const server = createServer({ port: 0 })
    await server.close()
    const [first, second] = await Promise.all([server.listen(), server.listen()])
    expect(second).toEqual(first)
    const closing = server.close({ drainMs: 0 })
    await expect(server.listen()).rejects.toMatchObject({ reason: ErrorReason.CONFIGURATION })
    await Promise.all([closing, server.close()])
    await server.listen()
    await server[Symbol.asyncDispose]()
  })

  test.each([1, 3])('drains in %i ms, which no half of is whole', async (drainMs) => {
    const { server } = await serve()
    await server.close({ drainMs })
  })

  test('a port that is taken rejects, and the server can listen again later', async () => {
    const { port, server: other } = await serve()
    const server = createServer({ port })
    await expect(server.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await server.close()
    await other.close({ drainMs: 0 })
    await server.listen()
    await server.close({ drainMs: 0 })
  })

  test('uses the key it is given', async () => {
    const key = await generateSigningKey()
    const { server, origin } = await serve({ key })
    expect(await server.publicKey).toEqual(key.publicKey)
    expect((await TestPeer.open({ origin })).serverKey).toEqual(key.publicKey)
  })

  test.each([{ port: -1 }, { port: 70_000 }, { drainMs: -5 }, { trustedProxies: 1.5 }])(
    'refuses options that cannot work: %o',
    (options) => {
      expect(() => createServer(options)).toThrowError(expect.objectContaining({ reason: ErrorReason.CONFIGURATION }))
    },
  )

  test('does not listen beyond loopback without knowing its names', async () => {
    await expect(createServer({ host: '0.0.0.0', port: 0 }).listen()).rejects.toMatchObject({
      reason: ErrorReason.CONFIGURATION,
    })
  })

  test('lets its process end once it is closed, and importing it starts nothing', async () => {
    const script = `
      import { createServer } from '@mesh/server'
      const server = createServer({ port: 0 })
      const { origin } = await server.listen()
      await (await fetch(origin)).text()
      await server.close({ drainMs: 0 })
      console.log('closed')
    `
    const flags = ['--conditions=source', '--input-type=module', '--eval', script]
    const { stdout } = await promisify(execFile)(process.execPath, flags, { timeout: 10_000, cwd: import.meta.dirname })
    expect(stdout).toBe('closed\n')
  })
})

describe('draining', () => {
  test('tells streams the deadline and the successor, refuses new calls, and ends early when streams end', async () => {
    const { server, origin } = await serve({ successor: 'https://next.example' })
    const peer = await TestPeer.open({ origin })
    const stream = await peer.subscribe().opened()
    const started = performance.now()
    const closing = server.close({ drainMs: 60_000 })
    expect(await stream.next('notice')).toMatchObject({
      kind: NoticeKind.DRAINING,
      // The last two seconds are for ending streams and connections.
      deadlineMs: 58_000,
      successor: 'https://next.example',
      detail: { reason: ErrorReason.DRAINING },
    })
    const refused = await refusalOf(peer.join(systemRandom.bytes(32)))
    expect(refused).toMatchObject({ reason: ErrorReason.DRAINING, code: Code.Unavailable, retryable: true })
    await expect(fetch(origin)).rejects.toThrow()
    stream.cancel()
    await closing
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  test('lets clients finish: what they send still arrives, and they can say goodbye', async () => {
    const { server, origin } = await serve({
      successor: 'https://next.example',
      successorKey: new Uint8Array(32).fill(7),
    })
    const topic = systemRandom.bytes(32)
    const [anna, bert] = [await TestPeer.open({ origin }), await TestPeer.open({ origin })]
    await Promise.all([anna.join(topic), bert.join(topic)])
    const stream = await bert.subscribe().opened()
    const closing = server.close({ drainMs: 60_000 })
    expect(await stream.next('notice')).toMatchObject({ successorKey: new Uint8Array(32).fill(7) })
    const outcome = await anna.send(bert.key.publicKey, topic, Uint8Array.of(1))
    expect(outcome.status).toBe(OutcomeStatus.DELIVERED)
    await anna.leave(topic)
    await bert.client.closeSession({}, bert.auth)
    await closing
  })

  test('ends the streams that stay, with a last notice and UNAVAILABLE', async () => {
    const { server, origin } = await serve()
    for (const wire of WIRES.filter(({ httpVersion }) => httpVersion === '2').slice(0, 4)) {
      const peer = await TestPeer.open({ origin: (await server.listen()).origin, wire })
      const stream = await peer.subscribe().opened()
      const closing = server.close({ drainMs: 50 })
      const { events, error } = await stream.rest()
      expect(events.at(-1)?.event).toMatchObject({ value: { kind: NoticeKind.DRAINING } })
      expect(ConnectError.from(error).code).toBe(Code.Unavailable)
      await closing
    }
    expect(origin).toBeDefined()
  })

  test.each(EXCHANGE_WIRES)('does not wait for a client that goes on streaming by $name', async (wire) => {
    const { server, origin } = await serve({ limits: { streamEndMs: 60_000 } })
    const call = (await TestPeer.open({ origin, wire })).exchange()
    call.send({})
    await call.events.opened()
    const ended = call.events.rest()
    // Waiting for the client would take the minute that an ended stream is given.
    await server.close({ drainMs: 0 })
    expect(server.stats().connections).toBe(0)
    expect(ConnectError.from((await ended).error).code).toBe(Code.Unavailable)
  })

  test('is cut short by its signal', async () => {
    const { server, origin } = await serve()
    await (await TestPeer.open({ origin })).subscribe().opened()
    const abort = new AbortController()
    const closing = server.close({ drainMs: 60_000, signal: abort.signal })
    abort.abort()
    await closing
    expect(server.stats().connections).toBe(0)
  })

  test('shows in the health of the server', async () => {
    const { server, origin } = await serve()
    const health = createClient(Health, transportOf(origin, CONNECT_H2))
    expect(await health.check({})).toMatchObject({ status: Status.SERVING })
    expect(await health.check({ service: 'mesh.signal.v1.SignalService' })).toMatchObject({ status: Status.SERVING })
    await expect(health.check({ service: 'nobody' })).rejects.toMatchObject({ code: Code.NotFound })
    const peer = await TestPeer.open({ origin })
    const stream = await peer.subscribe().opened()
    const watch = health.watch({})[Symbol.asyncIterator]()
    expect((await watch.next()).value).toMatchObject({ status: Status.SERVING })
    const closing = server.close({ drainMs: 60_000 })
    expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING })
    stream.cancel()
    expect((await watch.next()).done).toBe(true)
    await closing
  })
})

describe('the server', () => {
  test('logs what an operator needs, and no keys', async () => {
    const entries: [LogLevel, string, object | undefined][] = []
    const { server, origin, port } = await serve({ log: (...entry) => entries.push(entry as never) })
    await TestPeer.open({ origin })
    await server.close({ drainMs: 0 })
    expect(entries.map(([, event]) => event)).toEqual(['listening', 'draining', 'stopped'])
    expect(entries[0]?.[2]).toMatchObject({ port })
  })

  test('passes ICE servers on, and gives every session its own TURN credentials', async () => {
    const iceServers = [{ urls: ['stun:stun.example'] }]
    const { origin } = await serve({ iceServers, turn: { urls: ['turn:turn.example'], secret: 's' } })
    const [first, second] = [await TestPeer.create({ origin }), await TestPeer.create({ origin })]
    const told = (await first.openSession()).iceServers
    expect(told).toMatchObject([{ urls: ['stun:stun.example'], username: '' }, { urls: ['turn:turn.example'] }])
    expect((await second.openSession()).iceServers[1]?.username).not.toBe(told[1]?.username)
  })

  test('bounds the health watches', async () => {
    const { origin } = await serve({ limits: { maxHealthWatches: 1 } })
    const health = createClient(Health, transportOf(origin, CONNECT_H2))
    const first = health.watch({})[Symbol.asyncIterator]()
    await first.next()
    const second = health.watch({})[Symbol.asyncIterator]()
    expect(await refusalOf(second.next())).toMatchObject({ limit: 'max_health_watches', code: Code.ResourceExhausted })
  })

  test('says that it does not federate, as a typed UNIMPLEMENTED', async () => {
    const { origin } = await serve()
    const grpc = WIRES.find(({ protocol }) => protocol === 'grpc') as (typeof WIRES)[number]
    const client = createClient(FederationService, transportOf(origin, grpc))
    const frames = client.replicate((async function* () {})())[Symbol.asyncIterator]()
    expect(await refusalOf(frames.next())).toMatchObject({
      reason: ErrorReason.NOT_SUPPORTED,
      code: Code.Unimplemented,
    })
  })

  test('serves both HTTP versions over TLS on the same port', async () => {
    const tls = selfSigned()
    const { port } = await serve({ tls, fallback: (_request, response) => void response.end('page') })
    const h1 = await new Promise<number | undefined>((resolve, reject) => {
      getHttps({ port, host: 'localhost', ca: tls.cert }, (response) => {
        response.resume()
        resolve(response.statusCode)
      }).on('error', reject)
    })
    expect(h1).toBe(200)
    const session = connectHttp2(`https://localhost:${port}`, { ca: [tls.cert] })
    const body = JSON.stringify({})
    const stream = session.request({
      ':method': 'POST',
      ':path': '/mesh.signal.v1.SignalService/GetChallenge',
      'content-type': 'application/json',
    })
    stream.end(body)
    const status = await new Promise((resolve, reject) => {
      stream.on('error', reject)
      stream.on('response', (headers) => resolve(headers[':status']))
    })
    expect(status).toBe(200)
    session.destroy()
  })

  test('closes at once though a TLS handshake never comes', async () => {
    const { server, port } = await serve({ tls: selfSigned() })
    const socket = connectTcp(port, '127.0.0.1')
    await once(socket, 'connect')
    const closed = once(socket, 'close')
    await server.close({ signal: AbortSignal.abort() })
    await closed
  })

  test('survives a page that fails', async () => {
    const events: string[] = []
    const { origin } = await serve({
      log: (_level, event) => events.push(event),
      fallback: () => {
        throw new Error('no page')
      },
    })
    expect((await fetch(origin)).status).toBe(500)
    expect(events).toContain('fallback_failed')
  })

  test('gives a client behind a trusted proxy its own quota', async () => {
    const { origin } = await serve({ trustedProxies: 1, limits: { openSessionsBurst: 1 } })
    const open = async (address: string): Promise<Response> =>
      fetch(`${origin}/mesh.signal.v1.SignalService/OpenSession`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': `203.0.113.9, ${address}` },
        body: '{}',
      })
    expect((await open('192.0.2.1')).status).toBe(400)
    expect((await open('192.0.2.1')).status).toBe(429)
    expect((await open('192.0.2.2')).status).toBe(400)
  })

  test('serves a client that calls at the moment its idle connection is closed', async () => {
    const clock = new VirtualClock()
    const { origin } = await serve({ clock })
    const peer = await TestPeer.create({ origin })
    for (let round = 0; round < 5; round++) {
      await peer.client.getChallenge({})
      await clock.advance(10_000)
      await expect(peer.client.getChallenge({})).resolves.toBeDefined()
    }
  })

  test('frees everything when clients vanish', async () => {
    const { server, origin } = await serve({ limits: { leaseMs: 500, streamEndMs: 50 } })
    const peers = await Promise.all(Array.from({ length: 10 }, () => TestPeer.open({ origin })))
    const topic = systemRandom.bytes(32)
    const streams = await Promise.all(peers.map((peer) => peer.subscribe().opened()))
    await Promise.all(peers.map((peer) => peer.join(topic)))
    expect(server.stats()).toMatchObject({ sessions: 10, streams: 10, members: 10 })
    for (const stream of streams) stream.cancel()
    await eventually(() => server.stats().sessions === 0)
    expect(server.stats()).toMatchObject({ streams: 0, members: 0 })
  })
})
