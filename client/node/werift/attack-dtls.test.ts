import { afterAll, afterEach, describe, expect, test } from 'vitest'
import {
  connect,
  connectAttacker,
  createHardened,
  createTarget,
  expectAlive,
  inState,
  negotiate,
  type PairSide,
} from './loopback-pair.fixture.ts'
import { createStockPeer, type StockPeer, stolenCertificate } from './stock-peer.fixture.ts'
import type { DtlsSocket } from './werift-internals.ts'

const open: { close(): unknown }[] = []
afterEach(() => {
  for (const connection of open.splice(0)) connection.close()
})

/** A DTLS record that is not encrypted. */
function plainRecord(type: number, body: Buffer, sequence = 1000): Buffer {
  const header = Buffer.alloc(13)
  header[0] = type
  header.writeUInt16BE(0xfefd, 1)
  header.writeUIntBE(sequence, 5, 6)
  header.writeUInt16BE(body.length, 11)
  return Buffer.concat([header, body])
}

/** A first hello as any client sends it, good enough to be answered. */
function clientHello(): Buffer {
  const extensions = Buffer.from('000a00060004001d0017000d0006000404010403ff0100010000170000', 'hex')
  const body = Buffer.concat([
    Buffer.from('fefd', 'hex'),
    Buffer.alloc(32, 7),
    Buffer.from('00000002c02b0100', 'hex'),
    Buffer.from([0, extensions.length]),
    extensions,
  ])
  const header = Buffer.from([1, 0, 0, body.length, 0, 0, 0, 0, 0, 0, 0, body.length])
  return Buffer.concat([header, body])
}

/** Lets the attacker's side of the handshake be changed as soon as werift has made it. */
function onHandshakeBegin(attacker: StockPeer, change: (socket: DtlsSocket) => void): void {
  const transport = attacker.transport()
  const start = transport.start.bind(transport)
  transport.start = () => {
    const started = start()
    change(transport.dtls!)
    return started
  }
}

/** Negotiates with the target as offerer (it becomes the DTLS server) or answerer (client), and tells how it ends for it. */
async function outcome(attacker: StockPeer, role: 'server' | 'client', prepare?: () => void): Promise<string> {
  const target = await createTarget()
  open.push(target, attacker.connection)
  const negotiated = role === 'server' ? negotiate(target, attacker.connection) : negotiate(attacker.connection, target)
  prepare?.()
  await negotiated
  return inState(target, 'connected', 'failed')
}

describe.each(['server', 'client'] as const)('A target in the DTLS role %s', (role) => {
  test('refuses a peer that presents the right certificate but does not hold its key', async () => {
    const attacker = await createStockPeer(await stolenCertificate())
    expect(await outcome(attacker, role)).toBe('failed')
  })

  test('refuses a peer whose Finished message is wrong', async () => {
    const attacker = await createStockPeer()
    const result = outcome(attacker, role, () =>
      onHandshakeBegin(attacker, (socket) => {
        Object.assign(socket.cipher, { verifyData: () => Buffer.alloc(12, 1) })
      }),
    )
    expect(await result).toBe('failed')
  })

  test('refuses a peer whose certificate does not match the fingerprint', async () => {
    const attacker = await createStockPeer()
    const target = await createTarget()
    open.push(target, attacker.connection)
    const setRemote = target.setRemoteDescription.bind(target)
    const another = `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`
    target.setRemoteDescription = ({ type, sdp }) =>
      setRemote({ type, sdp: sdp.replace(/a=fingerprint:\S+ \S+/, another) })
    await (role === 'server' ? negotiate(target, attacker.connection) : negotiate(attacker.connection, target))
    expect(await inState(target, 'connected', 'failed')).toBe('failed')
  })
})

describe('A connected target', () => {
  const records: [string, Buffer][] = [
    ['a fatal alert', plainRecord(21, Buffer.from([2, 40]))],
    ['a close_notify', plainRecord(21, Buffer.from([1, 0]))],
    ['a record of an unknown type', plainRecord(30, Buffer.alloc(16))],
    ['a client hello', plainRecord(22, clientHello())],
    ['a client hello of a new association', plainRecord(22, clientHello(), 0)],
    ['a server hello done', plainRecord(22, Buffer.from([14, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]))],
    [
      'a finished message',
      plainRecord(22, Buffer.concat([Buffer.from('1400000c00050000000000000c', 'hex'), Buffer.alloc(11)])),
    ],
    ['a change of cipher', plainRecord(20, Buffer.from([1]))],
    ['application data', plainRecord(23, Buffer.from('not encrypted'))],
    ['a truncated record', plainRecord(23, Buffer.alloc(64)).subarray(0, 40)],
    ['a header alone', plainRecord(22, Buffer.alloc(0)).subarray(0, 7)],
  ]

  /** One connection for all of them, and a new one after one has done harm. */
  let standing: Awaited<ReturnType<typeof connectAttacker>> | undefined
  afterAll(() => {
    standing?.left.close()
    standing?.right.close()
  })

  test.each(records)('is not moved by %s that nobody has authenticated', async (_, record) => {
    const pair = standing ?? (await connectAttacker())
    standing = undefined
    for (let copy = 0; copy < 3; copy += 1) pair.attacker.sendDatagram(record)
    await expectAlive(pair)
    expect(pair.left.connectionState).toBe('connected')
    expect(pair.leftChannel.readyState).toBe('open')
    standing = pair
  })

  test('drops encrypted records that were seen before', async () => {
    const left = await createHardened()
    const attacker = await createStockPeer()
    const pair = await connect(left, attacker.connection)
    open.push(left, attacker.connection)
    const pairOfIce = attacker.transport().iceTransport.connection.nominated!
    const sent: Buffer[] = []
    const sendData = pairOfIce.protocol.sendData.bind(pairOfIce.protocol)
    pairOfIce.protocol.sendData = (data, to) => {
      sent.push(data)
      return sendData(data, to)
    }
    let received = 0
    pair.leftChannel.addEventListener('message', () => {
      received += 1
    })
    await expectAlive(pair)
    expect(received).toBe(1)
    for (const datagram of sent) attacker.sendDatagram(datagram)
    await expectAlive(pair)
    expect(received).toBe(2)
  })

  test('fails at once when the peer closes, authentically', async () => {
    const left = await createHardened()
    const right = await createHardened()
    const pair = await connect(left, right)
    open.push(left)
    const closed = new Promise<void>((resolve) => pair.leftChannel.addEventListener('close', resolve))
    right.close()
    await closed
    expect(await inState(left, 'failed')).toBe('failed')
  })
})

describe('A target before the handshake', () => {
  test('connects in spite of a flood of hellos and handshake fragments from the peer address', async () => {
    const attacker = await createStockPeer()
    const target: PairSide = await createTarget()
    open.push(target, attacker.connection)
    const negotiated = negotiate(target, attacker.connection)
    onHandshakeBeginFlood(attacker)
    const pair = await negotiated
    await inState(target, 'connected')
    await expectAlive(pair)
  })

  function onHandshakeBeginFlood(attacker: StockPeer): void {
    const bad = plainRecord(22, Buffer.from([1, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]), 0)
    const unusable = plainRecord(22, Buffer.from([1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2]), 0)
    onHandshakeBegin(attacker, () => {
      for (let count = 0; count < 200; count += 1) {
        attacker.sendDatagram(bad)
        attacker.sendDatagram(unusable)
        attacker.sendDatagram(plainRecord(21, Buffer.from([2, 40]), 0))
      }
    })
  }
})
