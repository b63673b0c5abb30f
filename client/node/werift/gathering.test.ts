import { createSocket, type Socket } from 'node:dgram'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { RtcConfiguration, RtcConnection } from '../../connection/rtc.ts'
import { weriftFactory } from './factory.ts'
import { UdpSocket } from './udp-socket.ts'

const open: { close(): unknown }[] = []
afterEach(() => {
  vi.restoreAllMocks()
  for (const resource of open.splice(0)) resource.close()
})

async function gathered(configuration: RtcConfiguration): Promise<string[]> {
  const connection: RtcConnection = await weriftFactory({ hostAddresses: ['127.0.0.1'] }).create(configuration)
  open.push(connection)
  connection.createDataChannel('mesh', { negotiated: true, id: 0, ordered: true })
  const candidates: string[] = []
  const done = new Promise<void>((resolve) =>
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate === null) resolve()
      else candidates.push(candidate.candidate)
    }),
  )
  await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
  await done
  return candidates
}

/** Answers every binding request with the address 192.0.2.7, port 9. */
async function stunServer(): Promise<Socket> {
  const server = createSocket('udp4')
  server.on('message', (request, { port }) => {
    const response = Buffer.concat([request.subarray(0, 20), Buffer.from('002000080001211be112a645', 'hex')])
    response.writeUInt16BE(0x0101, 0)
    response.writeUInt16BE(12, 2)
    server.send(response, port, '127.0.0.1')
  })
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve))
  open.push(server)
  return server
}

describe('Gathering', () => {
  test('sends not one packet when no server is configured', async () => {
    const sendTo = vi.spyOn(UdpSocket.prototype, 'sendTo')
    expect(await gathered({ iceServers: [] })).toHaveLength(1)
    expect(sendTo).not.toHaveBeenCalled()
  })

  test('adds the address a STUN server sees', async () => {
    const { port } = (await stunServer()).address()
    const candidates = await gathered({ iceServers: [{ urls: `stun:127.0.0.1:${port}` }] })
    expect(candidates.map((line) => line.split(' ').slice(4, 8).join(' '))).toEqual([
      expect.stringMatching(/^127\.0\.0\.1 [0-9]+ typ host$/),
      '192.0.2.7 9 typ srflx',
    ])
  })

  test('goes on without an address that cannot be bound', async () => {
    const factory = weriftFactory({ hostAddresses: ['192.0.2.1', '127.0.0.1'] })
    const connection = await factory.create({ iceServers: [] })
    open.push(connection)
    connection.createDataChannel('mesh', { negotiated: true, id: 0, ordered: true })
    const first = new Promise<string | undefined>((resolve) =>
      connection.addEventListener('icecandidate', ({ candidate }) => resolve(candidate?.candidate)),
    )
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    expect(await first).toContain('127.0.0.1')
  })
})

describe('A UDP socket', () => {
  test('goes on after the system has refused a datagram', async () => {
    const socket = await UdpSocket.open('127.0.0.1', () => {})
    const peer = await UdpSocket.open('127.0.0.1', () => {})
    open.push(socket, peer)
    const arrived = new Promise<Buffer>((resolve) => {
      peer.onData = resolve
    })
    // Larger than any datagram can be, and to where nothing is.
    socket.sendTo(Buffer.alloc(100_000), peer.port, '127.0.0.1')
    socket.sendTo(Buffer.from('nobody'), 1, '127.0.0.1')
    socket.sendTo(Buffer.from('wrong family'), 9, '::1')
    socket.sendTo(Buffer.from('fine'), peer.port, '127.0.0.1')
    expect((await arrived).toString()).toBe('fine')
  })

  test('goes on after a handler has thrown', async () => {
    const socket = await UdpSocket.open('127.0.0.1', () => {})
    const peer = await UdpSocket.open('127.0.0.1', () => {})
    open.push(socket, peer)
    const second = new Promise<void>((resolve) => {
      let count = 0
      socket.onData = () => {
        count += 1
        if (count === 2) resolve()
        throw new Error('from above')
      }
    })
    peer.sendTo(Buffer.from('one'), socket.port, '127.0.0.1')
    peer.sendTo(Buffer.from('two'), socket.port, '127.0.0.1')
    await second
  })
})
