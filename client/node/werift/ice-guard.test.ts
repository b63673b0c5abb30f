import { createHmac } from 'node:crypto'
import { VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { IceGuard } from './ice-guard.ts'
import { type IceAgent, loadWerift, type StunProtocol, type StunTransaction } from './werift-internals.ts'

const OURS = { localUsername: 'ours', localPassword: 'password-of-ours-24-long' }

let clock: VirtualClock
let guard: IceGuard
let protocol: StunProtocol
let transactions: Record<string, StunTransaction>
let executed: number
let pairs: { requestTransactionIds: Set<string> }[]

beforeEach(async () => {
  clock = new VirtualClock()
  executed = 0
  pairs = []
  transactions = {}
  const agent = {
    ...OURS,
    remoteUsername: 'theirs',
    earlyChecks: [],
    remoteCandidates: [],
    checkList: pairs,
    ensureProtocol: () => {},
  } as unknown as IceAgent
  guard = new IceGuard(agent, await loadWerift(), clock)
  protocol = {
    type: 'stun',
    transactions,
    onRequestReceived: {
      execute: () => {
        executed += 1
      },
    },
  } as unknown as StunProtocol
  agent.ensureProtocol(protocol)
})

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4)
  header.writeUInt16BE(type, 0)
  header.writeUInt16BE(value.length, 2)
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)])
}

let serial = 0
function stun(type: number, attributes: Buffer[], password: string): Buffer {
  const body = Buffer.concat(attributes)
  const message = Buffer.concat([Buffer.alloc(20), body])
  message.writeUInt16BE(type, 0)
  message.writeUInt16BE(body.length + 24, 2)
  message.writeUInt32BE(0x2112_a442, 4)
  serial += 1
  message.writeUInt32BE(serial, 16)
  return Buffer.concat([message, attribute(0x0008, createHmac('sha1', password).update(message).digest())])
}

const check = (username = 'ours:theirs') =>
  stun(
    1,
    [attribute(6, Buffer.from(username)), attribute(0x24, Buffer.alloc(4, 1)), attribute(0x8029, Buffer.alloc(8, 1))],
    OURS.localPassword,
  )

const DTLS = Buffer.from([22, 0xfe, 0xfd, 0])

describe('An ICE guard', () => {
  test('lets proved checks pass, at a bounded rate', async () => {
    for (let count = 0; count < 1000; count += 1) protocol.datagramReceived(check(), ['127.0.0.1', 5])
    expect(executed).toBe(400)
    await clock.advance(1000)
    for (let count = 0; count < 1000; count += 1) protocol.datagramReceived(check(), ['127.0.0.1', 5])
    expect(executed).toBe(500)
  })

  test('knows a bounded number of addresses, however many prove themselves', async () => {
    for (let port = 1; port <= 300; port += 1) {
      protocol.datagramReceived(check(), ['127.0.0.1', port])
      await clock.advance(10)
    }
    expect(executed).toBe(128)
  })

  test('forgets the transactions of a pair before they pile up', () => {
    pairs.push({ requestTransactionIds: new Set(Array.from({ length: 129 }, (_, index) => String(index))) })
    protocol.datagramReceived(check(), ['127.0.0.1', 5])
    expect(pairs[0]!.requestTransactionIds.size).toBe(0)
  })

  test('passes DTLS on only from an address that has proved itself', () => {
    let received = 0
    guard.listen(() => {
      received += 1
    })
    protocol.datagramReceived(DTLS, ['127.0.0.1', 5])
    expect(received).toBe(0)
    protocol.datagramReceived(check(), ['127.0.0.1', 5])
    protocol.datagramReceived(DTLS, ['127.0.0.1', 5])
    protocol.datagramReceived(DTLS, ['127.0.0.1', 6])
    expect(received).toBe(1)
  })

  test('keeps a few datagrams that come before anybody listens', () => {
    protocol.datagramReceived(check(), ['127.0.0.1', 5])
    for (let count = 0; count < 100; count += 1) protocol.datagramReceived(DTLS, ['127.0.0.1', 5])
    let received = 0
    guard.listen(() => {
      received += 1
    })
    expect(received).toBe(16)
  })

  test('drops checks for another name, and media', () => {
    protocol.datagramReceived(check('ours:somebody'), ['127.0.0.1', 5])
    protocol.datagramReceived(check('__proto__:theirs'), ['127.0.0.1', 5])
    protocol.datagramReceived(Buffer.from([128, 0, 0, 0]), ['127.0.0.1', 5])
    expect(executed).toBe(0)
  })

  test('completes a transaction only with a proved response, and repeats role conflicts no more than 16 times', () => {
    let answered = 0
    const waiting = (response: Buffer) => {
      transactions[response.toString('hex', 8, 20)] = {
        integrityKey: Buffer.from('theirs'),
        expectedAddr: ['127.0.0.1', 5],
        responseReceived: () => {
          answered += 1
        },
        cancel: () => {},
      }
      protocol.datagramReceived(response, ['127.0.0.1', 5])
    }
    const address = attribute(0x20, Buffer.from('00012112210011a4', 'hex'))
    waiting(stun(0x0101, [address], 'forged'))
    expect(answered).toBe(0)
    waiting(stun(0x0101, [address], 'theirs'))
    expect(answered).toBe(1)
    const error = (code: number) => attribute(9, Buffer.from([0, 0, Math.floor(code / 100), code % 100]))
    waiting(stun(0x0111, [error(401)], 'theirs'))
    waiting(stun(0x0111, [], 'theirs'))
    expect(answered).toBe(1)
    for (let count = 0; count < 40; count += 1) waiting(stun(0x0111, [error(487)], 'theirs'))
    expect(answered).toBeLessThanOrEqual(17)
  })
})
