import { createHmac, randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { seededRandom } from '@mesh/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectAttacker, expectAlive, type Pair, type PairSide } from './loopback-pair.fixture.ts'
import type { StockPeer } from './stock-peer.fixture.ts'

/** MESH_WERIFT_FUZZ_MS=60000 for the long run. */
const FUZZ_MS = Number(process.env.MESH_WERIFT_FUZZ_MS ?? 2000)

let pair: Pair<PairSide, PairSide> & { attacker: StockPeer }
let outsider: Socket
let replies: Buffer[] = []
let target: { host: string; port: number }
/** What a peer knows: the target's name and password, and its own name. */
let secrets: { username: string; password: string }

beforeEach(async () => {
  pair = await connectAttacker()
  const agent = pair.attacker.transport().iceTransport.connection as unknown as {
    nominated: { remoteCandidate: { host: string; port: number } }
    remoteUsername: string
    remotePassword: string
    localUsername: string
  }
  target = agent.nominated.remoteCandidate
  secrets = { username: `${agent.remoteUsername}:${agent.localUsername}`, password: agent.remotePassword }
  replies = []
  outsider = createSocket('udp4')
  outsider.on('message', (data) => replies.push(data))
  await new Promise<void>((resolve) => outsider.bind(0, '127.0.0.1', resolve))
})

afterEach(() => {
  pair.left.close()
  pair.right.close()
  outsider.close()
})

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4)
  header.writeUInt16BE(type, 0)
  header.writeUInt16BE(value.length, 2)
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)])
}

function message(type: number, attributes: readonly Buffer[]): Buffer {
  const body = Buffer.concat(attributes)
  const header = Buffer.alloc(20)
  header.writeUInt16BE(type, 0)
  header.writeUInt16BE(body.length, 2)
  header.writeUInt32BE(0x2112_a442, 4)
  randomBytes(12).copy(header, 8)
  return Buffer.concat([header, body])
}

function proved(unproved: Buffer, password: string): Buffer {
  const covered = Buffer.from(unproved)
  covered.writeUInt16BE(unproved.length - 20 + 24, 2)
  return Buffer.concat([covered, attribute(0x0008, createHmac('sha1', password).update(covered).digest())])
}

/** A connectivity check without proof. */
function check(username = secrets.username): Buffer {
  return message(0x0001, [
    attribute(0x0006, Buffer.from(username)),
    attribute(0x0024, Buffer.from([0x6e, 0, 0x1e, 0xff])),
    attribute(0x8029, Buffer.alloc(8, 1)),
  ])
}

function send(data: Buffer): Promise<void> {
  return new Promise((resolve, reject) =>
    outsider.send(data, target.port, target.host, (error) => (error ? reject(error) : resolve())),
  )
}

/**
 * Sends a proved check, again while it may have been lost, and waits for its answer: what was sent before has been handled then.
 * @returns the answers to anything else.
 */
async function settle(): Promise<Buffer[]> {
  const last = proved(check(), secrets.password)
  const isAnswer = (data: Buffer) => data.subarray(8, 20).equals(last.subarray(8, 20))
  await expect
    .poll(
      async () => {
        if (!replies.some(isAnswer)) await send(last)
        return replies.some(isAnswer)
      },
      { interval: 20, timeout: 4000 },
    )
    .toBe(true)
  // The proved check makes the target check this address in turn; those requests are no answers.
  return replies.filter((data) => !isAnswer(data) && (data.readUInt16BE(0) & 0x0110) !== 0)
}

describe('STUN at a connected target', () => {
  test('answers a check that is proved with the password', async () => {
    await settle()
    expect(replies[0]!.readUInt16BE(0)).toBe(0x0101)
  })

  test.each<[string, () => Buffer]>([
    ['without proof', () => check()],
    ['proved with another password', () => proved(check(), 'x'.repeat(24))],
    ['for another name', () => proved(check('nobody:else'), secrets.password)],
    ['whose proof does not cover all of it', () => withTail(proved(check(), secrets.password))],
    ['without a name', () => proved(message(0x0001, []), secrets.password)],
    [
      'of another method',
      () => proved(message(0x0003, [attribute(0x0006, Buffer.from(secrets.username))]), secrets.password),
    ],
    ['with an attribute longer than the message', () => message(0x0001, [Buffer.from([0, 6, 255, 255])])],
    ['that is an error response nobody waits for', () => proved(message(0x0111, []), secrets.password)],
  ])('does not answer a message %s', async (_, make) => {
    for (let copy = 0; copy < 5; copy += 1) await send(make())
    expect(await settle()).toEqual([])
    await expectAlive(pair)
  })

  test('answers none of a flood of unproved checks and keeps nothing of it', async () => {
    for (let batch = 0; batch < 50; batch += 1) {
      await Promise.all(Array.from({ length: 100 }, () => send(check())))
    }
    expect(await settle()).toEqual([])
    await expectAlive(pair)
  })

  function withTail(data: Buffer): Buffer {
    const longer = Buffer.concat([data, attribute(0x0025, Buffer.alloc(0))])
    longer.writeUInt16BE(longer.length - 20, 2)
    return longer
  }
})

describe('A connected target', () => {
  test('does not accept even an authentic record from an address that has not proved itself', async () => {
    const protocol = pair.attacker.transport().iceTransport.connection.nominated!.protocol
    const sendData = protocol.sendData
    let held: Buffer | undefined
    protocol.sendData = async (data) => {
      held ??= data
    }
    pair.rightChannel.send(Buffer.from('held back'))
    protocol.sendData = sendData
    const seen: string[] = []
    pair.leftChannel.addEventListener('message', ({ data }) => seen.push(Buffer.from(data as ArrayBuffer).toString()))
    await send(held!)
    await settle()
    expect(seen).not.toContain('held back')
  })

  test(`stays connected through ${FUZZ_MS} ms of random and mutated datagrams`, {
    timeout: FUZZ_MS + 20_000,
  }, async () => {
    const random = seededRandom(20_261_122)
    const below = (limit: number) => Math.floor(random.uniform() * limit)
    const genuine: Buffer[] = [check(), proved(check(), secrets.password)]
    const protocol = pair.attacker.transport().iceTransport.connection.nominated!.protocol
    const sendData = protocol.sendData.bind(protocol)
    protocol.sendData = (data, to) => {
      if (genuine.length < 64) genuine.push(Buffer.from(data))
      return sendData(data, to)
    }
    const mutated = () => {
      const copy = Buffer.from(genuine[below(genuine.length)]!)
      for (let change = below(4); change >= 0; change -= 1) copy[below(copy.length)] = below(256)
      return below(4) === 0 ? copy.subarray(0, below(copy.length)) : copy
    }
    const firstBytes = [0, 1, 20, 21, 22, 23, 25, 64, 128]
    const noise = () => {
      const bytes = Buffer.from(random.bytes(1 + below(1400)))
      bytes[0] = firstBytes[below(firstBytes.length)]!
      return bytes
    }
    const endAtMs = performance.now() + FUZZ_MS
    let sent = 0
    while (performance.now() < endAtMs) {
      for (let count = 0; count < 50; count += 1) {
        const datagram = below(2) === 0 ? mutated() : noise()
        if (below(2) === 0) pair.attacker.sendDatagram(datagram)
        else outsider.send(datagram, target.port, target.host)
        sent += 1
      }
      await new Promise((resolve) => setImmediate(resolve))
      if (sent % 1000 === 0) await expectAlive(pair, 10_000)
    }
    expect(sent).toBeGreaterThan(100)
    await expectAlive(pair, 10_000)
    expect(pair.left.connectionState).toBe('connected')
  })
})
