import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Relay } from './relay.ts'

let target: Server
let relay: Relay
const dialled: Socket[] = []
const accepted: Socket[] = []

beforeEach(async () => {
  target = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  target.listen(0, '127.0.0.1')
  await once(target, 'listening')
  relay = await Relay.to((target.address() as AddressInfo).port)
})
afterEach(async () => {
  for (const socket of [...dialled.splice(0), ...accepted.splice(0)]) socket.destroy()
  await relay.close()
  target.close()
})

async function dial(): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: relay.port, allowHalfOpen: true, noDelay: true })
  dialled.push(socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let length = 0; length < bytes; length += (chunks.at(-1) as Buffer).length) {
    chunks.push(socket.read() ?? (await once(socket, 'data'))[0])
  }
  return Buffer.concat(chunks)
}

function silence(ms: number): Promise<'silence'> {
  return new Promise((resolve) => setTimeout(() => resolve('silence'), ms))
}

describe('a relay', () => {
  test('carries bytes both ways, unchanged, and their end', async () => {
    const socket = await dial()
    const sent = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)))
    socket.end(sent)
    const received: Buffer[] = []
    for await (const chunk of socket) received.push(chunk as Buffer)
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })

  test('loses nothing and tells nobody while it is cut', async () => {
    const socket = await dial()
    socket.write('before')
    expect(String(await read(socket, 6))).toBe('before')
    relay.cut()
    socket.write('during')
    const late = await dial()
    late.write('late')
    accepted[0]?.destroy()
    expect(await Promise.race([read(socket, 1), once(socket, 'close'), read(late, 1), silence(200)])).toBe('silence')
    relay.heal()
    expect(String(await read(late, 4))).toBe('late')
  })

  test('is as slow as it is asked to be, and keeps the order when it is made fast again', async () => {
    const socket = await dial()
    relay.slow({ kbitPerSecond: 800, delayMs: 20 })
    const sent = Buffer.from(crypto.getRandomValues(new Uint8Array(30_000)))
    const startedMs = performance.now()
    socket.write(sent.subarray(0, 20_000))
    const first = await read(socket, 20_000)
    // 20,000 bytes are 200 ms there and 20 ms for the last piece back, and twice 20 ms.
    expect(performance.now() - startedMs).toBeGreaterThan(230)
    relay.slow(undefined)
    socket.write(sent.subarray(20_000))
    expect(Buffer.concat([first, await read(socket, 10_000)]).equals(sent)).toBe(true)
  })

  test('passes on that a program at one end was killed', async () => {
    const socket = await dial()
    socket.write('x')
    await read(socket, 1)
    const reset = once(socket, 'error')
    accepted[0]?.resetAndDestroy()
    expect((await reset)[0]).toMatchObject({ code: 'ECONNRESET' })
  })
})
