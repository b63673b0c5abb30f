import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { type AddressInfo, connect as connectTcp, createServer as createNetServer, type Socket } from 'node:net'
import { systemRandom } from '@mesh/core'
import { eventually, type Served, TestPeer, useServers } from '@mesh/server/testing'
import { expect, test } from 'vitest'
import { RawConnection, requestText } from './raw-connection.ts'

const serve = useServers()
const SERVICE = '/mesh.signal.v1.SignalService'

/** The server still answers. */
async function expectAlive({ origin }: Served): Promise<void> {
  const peer = await TestPeer.create({ origin })
  await expect(peer.client.getChallenge({})).resolves.toMatchObject({ ttlMs: 60_000 })
}

test('a connection that sends the single byte "P" is closed and holds up nobody', async () => {
  const served = await serve({ limits: { unauthenticatedMs: 200 } })
  const connection = await RawConnection.open(served.port)
  connection.write('P')
  await expectAlive(served)
  await eventually(() => connection.closed)
})

test('a preface that comes byte by byte is still recognised', async () => {
  const served = await serve()
  const connection = await RawConnection.open(served.port)
  for (const byte of 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') {
    connection.write(byte)
    await new Promise((resolve) => setImmediate(resolve))
  }
  // An empty SETTINGS frame completes the client's side; the server's own SETTINGS and the ack come back.
  connection.write('\x00\x00\x00\x04\x00\x00\x00\x00\x00')
  await eventually(() => connection.received.length > 9)
  connection.close()
})

test('trickled HTTP/1.1 headers are cut off at their deadline', async () => {
  const served = await serve({ limits: { httpHeaderMs: 200, httpRequestMs: 400 } })
  const connection = await RawConnection.open(served.port)
  connection.write(`POST ${SERVICE}/OpenSession HTTP/1.1\r\nHost: 127.0.0.1:${served.port}\r\n`)
  const trickle = setInterval(() => connection.write('x-a: b\r\n'), 50)
  await eventually(() => connection.closed)
  clearInterval(trickle)
  expect(connection.received).toMatch(/^HTTP\/1\.1 408 /)
  await expectAlive(served)
})

test('a trickled HTTP/1.1 body is cut off at its deadline, in both lanes', async () => {
  const served = await serve({ limits: { http2BodyMs: 200 } })
  const { token } = await TestPeer.open({ origin: served.origin })
  for (const [rpc, type] of [
    ['OpenSession', 'application/json'],
    ['SendMessage', 'application/proto'],
  ]) {
    const connection = await RawConnection.open(served.port)
    const headers = { 'Content-Type': type as string, 'Content-Length': '1000', Authorization: `Bearer ${token}` }
    connection.write(requestText(served.port, `POST ${SERVICE}/${rpc}`, headers))
    const trickle = setInterval(() => connection.write(' '), 20)
    await eventually(() => connection.received.startsWith('HTTP/1.1 504 '))
    clearInterval(trickle)
    connection.close()
  }
})

test('a trickled HTTP/2 body is cut off at its deadline, in both lanes', async () => {
  const served = await serve({ limits: { http2BodyMs: 200 } })
  const { token } = await TestPeer.open({ origin: served.origin })
  const session = await openHttp2(served.port)
  for (const [rpc, type] of [
    ['OpenSession', 'application/json'],
    ['SendMessage', 'application/grpc+proto'],
    ['Exchange', 'application/grpc+proto'],
  ]) {
    const stream = session.request({
      ':method': 'POST',
      ':path': `${SERVICE}/${rpc}`,
      'content-type': type,
      authorization: `Bearer ${token}`,
    })
    const trickle = setInterval(() => stream.write(Buffer.from([0])), 60)
    const status = await new Promise((resolve, reject) => {
      stream.on('error', reject)
      stream.on('trailers', (trailers) => resolve(trailers['grpc-status']))
      stream.on('response', (headers) => {
        if (type === 'application/json') resolve(headers[':status'])
        else if (headers['grpc-status'] !== undefined) resolve(headers['grpc-status'])
      })
      stream.resume()
    })
    clearInterval(trickle)
    stream.close()
    // 504 and 4 are DEADLINE_EXCEEDED.
    expect(String(status)).toMatch(/^(504|4)$/)
  }
  session.destroy()
})

test('a connection without an authenticated call is closed, one with it stays', async () => {
  const served = await serve({ limits: { unauthenticatedMs: 150 } })
  const idle = await RawConnection.open(served.port)
  const session = await openHttp2(served.port)
  const peer = await TestPeer.open({ origin: served.origin })
  await eventually(() => idle.closed && session.closed)
  await eventually(() => served.server.stats().connections === 1)
  await peer.join(systemRandom.bytes(32))
})

test('HTTP/2 rapid reset costs the client its connection and others nothing', async () => {
  const served = await serve({ limits: { http2ResetBurst: 50, http2ResetsPerSecond: 10 } })
  const session = await openHttp2(served.port)
  let gone = false
  session.on('close', () => {
    gone = true
  })
  for (let i = 0; i < 2_000 && !gone; i++) {
    const stream = session.request({
      ':method': 'POST',
      ':path': `${SERVICE}/GetChallenge`,
      'content-type': 'application/json',
    })
    stream.on('error', () => {})
    stream.close(constants.NGHTTP2_CANCEL)
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await eventually(() => gone)
  await expectAlive(served)
})

test('oversize HTTP/2 headers do not reach a handler', async () => {
  const served = await serve()
  const session = await openHttp2(served.port)
  const stream = session.request({ ':path': '/', ...bigHeaders(20, 1_024) })
  const outcome = await new Promise((resolve) => {
    stream.on('response', (headers) => resolve(headers[':status']))
    stream.on('error', () => resolve('refused'))
    stream.on('close', () => resolve('refused'))
  })
  expect(['refused', 431]).toContain(outcome)
  session.destroy()
  await expectAlive(served)
})

test('a subscriber that never reads is closed at its queue bound, memory stays flat and it can resume', async () => {
  const limits = {
    messagesBurst: 5_000,
    messagesPerSecond: 5_000,
    pairMessagesBurst: 5_000,
    pairMessagesPerSecond: 5_000,
  }
  const served = await serve({ limits: { ...limits, maxStreamQueueBytes: 256 * 1_024, streamEndMs: 100 } })
  const { origin } = served
  const topic = systemRandom.bytes(32)
  const [sender, reader] = [await TestPeer.open({ origin }), await TestPeer.open({ origin })]
  await sender.join(topic)
  await reader.join(topic)
  const session = await openHttp2(served.port)
  const stream = session.request({
    ':method': 'POST',
    ':path': `${SERVICE}/Subscribe`,
    'content-type': 'application/grpc+proto',
    authorization: `Bearer ${reader.token}`,
  })
  stream.on('error', () => {})
  stream.end(Buffer.alloc(5))
  await eventually(() => served.server.stats().streams === 1)

  const payload = new Uint8Array(32 * 1_024)
  let slow = 0
  for (let i = 0; i < 64; i++) {
    const outcome = await sender.send(reader.key.publicKey, topic, payload)
    if (outcome.error !== undefined) slow += 1
  }
  await eventually(() => served.server.stats().streams === 0)
  expect(slow).toBeGreaterThan(0)
  const metrics = await (await fetch(`${origin}/metrics`)).text()
  expect(metrics).toMatch(/mesh_streams_ended_total\{reason="slow_reader"\} 1/)
  await eventually(() => stream.closed || stream.destroyed)
  session.destroy()

  const resumed = reader.subscribe()
  expect((await resumed.next('message')).payload).toHaveLength(payload.length)
  resumed.cancel()
})

test('a client that stops answering HTTP/2 pings loses its connection', async () => {
  const served = await serve({ limits: { http2PingMs: 50, deadAfterMs: 150 } })
  const peer = await TestPeer.open({ origin: served.origin })
  const freezable = await FreezableProxy.open(served.port)
  const session = await openHttp2(freezable.port)
  const stream = session.request({
    ':method': 'POST',
    ':path': `${SERVICE}/Subscribe`,
    // The proxy has a port of its own; the server answers for its own only.
    ':authority': `127.0.0.1:${served.port}`,
    'content-type': 'application/grpc+proto',
    authorization: `Bearer ${peer.token}`,
  })
  stream.on('error', () => {})
  stream.end(Buffer.alloc(5))
  await eventually(() => served.server.stats().streams === 1)
  freezable.freeze()
  await eventually(() => served.server.stats().streams === 0)
  session.destroy()
  freezable.close()
})

/** Passes bytes on in both directions until it is frozen: the client's side then falls silent with its socket open. */
class FreezableProxy {
  readonly #server = createNetServer()
  readonly #sockets: Socket[] = []
  port = 0

  static async open(target: number): Promise<FreezableProxy> {
    const proxy = new FreezableProxy()
    proxy.#server.on('connection', (client) => {
      const upstream = connectTcp(target, '127.0.0.1')
      proxy.#sockets.push(client, upstream)
      for (const socket of [client, upstream]) socket.on('error', () => {})
      client.pipe(upstream).pipe(client)
    })
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    proxy.port = (proxy.#server.address() as AddressInfo).port
    return proxy
  }

  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe()
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

function openHttp2(port: number): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    session.once('error', reject)
    session.once('connect', () => {
      session.on('error', () => {})
      resolve(session)
    })
  })
}

function bigHeaders(count: number, bytes: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-big-${i}`, 'a'.repeat(bytes)]))
}
