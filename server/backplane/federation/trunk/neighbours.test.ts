import { ErrorReason, type SigningKey, VirtualClock } from '@mesh/core'
import { Channel } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { beforeAll, describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import { MemoryNetwork } from '../../../testing/memory-trunk.ts'
import { broken, headSeqs, RawServer, serverKeys, stateFrame, TestServer } from './trunk.fixture.ts'

let keys: { low: SigningKey; high: SigningKey; stranger: SigningKey }

beforeAll(async () => {
  keys = await serverKeys()
})

type Name = 'low' | 'high'

interface Pair {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  /** Streams that arrived at each, in order, by who opened them. */
  low: TestServer
  high: TestServer
  readonly restart: (name: Name, epoch: bigint) => TestServer
}

/** Two servers that know each other; `dialling` says which of them call. */
function pair(dialling: readonly Name[] = ['low', 'high'], delayMs = 1): Pair {
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock, delayMs: () => delayMs })
  const start = (name: Name, epoch: bigint): TestServer => {
    const other = name === 'low' ? 'high' : 'low'
    const server = new TestServer({
      key: keys[name],
      trunk: network.trunk(name),
      clock,
      allowed: new Set([byteKey(keys[other].publicKey)]),
      addresses: dialling.includes(name) ? [{ key: keys[other].publicKey, url: other }] : [],
    })
    server.epoch = epoch
    server.neighbours.start()
    return server
  }
  const made: Pair = {
    clock,
    network,
    low: start('low', 1n),
    high: start('high', 1n),
    restart: (name, epoch) => {
      made[name] = start(name, epoch)
      return made[name]
    },
  }
  return made
}

/** Whether both servers hold the same streams: what one sends on each channel arrives at the other. */
async function talks({ clock, low, high }: Pair): Promise<boolean> {
  low.send(keys.high, stateFrame(7))
  high.send(keys.low, stateFrame(8))
  await clock.advance(100)
  return headSeqs(high.directory.received).at(-1) === 7 && headSeqs(low.directory.received).at(-1) === 8
}

const flaps = ({ low, high }: Pair): number =>
  [low, high]
    .flatMap(({ directory, messages }) => [...directory.events, ...messages.events])
    .filter((e) => e === 'down').length

describe('two servers', () => {
  test.each<[string, Name[]]>([
    ['the lower key dials', ['low']],
    ['the higher key dials', ['high']],
    ['both dial', ['low', 'high']],
  ])('are connected on both channels when %s, and stay so', async (_, dialling) => {
    const both = pair(dialling)
    await both.clock.advance(3_000)
    expect([both.low.isUp, both.high.isUp]).toEqual([true, true])
    const settled = flaps(both)
    expect(await talks(both)).toBe(true)
    await both.clock.advance(120_000)
    expect(flaps(both)).toBe(settled)
    expect(both.network.streams).toBe(2)
    for (const server of [both.low, both.high]) expect(server.eventNames()).toEqual(['federation_up', 'federation_up'])
    expect(both.low.neighbours.connected(Channel.MESSAGES)).toEqual([byteKey(keys.high.publicKey)])
  })

  test.each([1, 40, 500])('keep the streams of the lower key when calls cross on a line of %d ms', async (delayMs) => {
    const both = pair(['low', 'high'], delayMs)
    await both.clock.advance(30_000)
    expect(both.network.streams).toBe(2)
    expect(both.network.openedBy('low')).toBe(2)
    expect(await talks(both)).toBe(delayMs < 100)
    await both.clock.advance(10 * delayMs)
    expect(headSeqs(both.high.directory.received)).toContain(7)
  })

  test.each<[string, Name[]]>([
    ['the lower key dials', ['low']],
    ['the higher key dials', ['high']],
    ['both dial', ['low', 'high']],
  ])('find each other again after the line was reset when %s', async (_, dialling) => {
    const both = pair(dialling)
    await both.clock.advance(60_000)
    both.network.reset('low', 'high')
    await both.clock.advance(0)
    expect([both.low.isUp, both.high.isUp]).toEqual([false, false])
    expect(both.low.directory.errors.at(-1)).toBe(ErrorReason.UNREACHABLE)
    await both.clock.advance(1_500)
    expect([both.low.isUp, both.high.isUp, await talks(both)]).toEqual([true, true, true])
    expect(both.network.streams).toBe(2)
  })

  test('meet once the other starts, with calls that come less and less often', async () => {
    const clock = new VirtualClock()
    const network = new MemoryNetwork({ clock })
    const addresses = [{ key: keys.high.publicKey, url: 'high' }]
    const low = new TestServer({ key: keys.low, trunk: network.trunk('low'), clock, addresses })
    low.neighbours.start()
    await clock.advance(600_000)
    const calls = network.opened
    expect(calls).toBeGreaterThan((2 * 600_000) / 5_000)
    expect(calls).toBeLessThan((2 * 600_000) / 1_250)
    expect(low.eventNames()).toEqual(['federation_down', 'federation_down'])
    expect(low.neighbours.status()).toMatchObject([{ url: 'high', directory: false, messages: false }])
    expect(low.neighbours.status()[0]?.lastError).toMatch(/^UNREACHABLE/)
    const allowed = new Set([byteKey(keys.low.publicKey)])
    const high = new TestServer({ key: keys.high, trunk: network.trunk('high'), clock, allowed })
    await clock.advance(5_100)
    expect([low.isUp, high.isUp]).toEqual([true, true])
    expect(low.eventNames().slice(2)).toEqual(['federation_up', 'federation_up'])
    expect(low.neighbours.status()).toMatchObject([{ directory: true, messages: true, lastError: undefined }])
  })

  test('replace a stream whose far end restarted, without waiting for its pings', async () => {
    const both = pair()
    await both.clock.advance(5_000)
    both.network.block('high', 'low')
    both.network.crash('high')
    both.network.unblock('high', 'low')
    await both.clock.advance(100)
    expect(both.low.isUp).toBe(true)
    both.restart('high', 2n)
    await both.clock.advance(500)
    expect([both.low.isUp, both.high.isUp, await talks(both)]).toEqual([true, true, true])
    expect(both.low.directory.up_.at(-1)?.epoch).toBe(2n)
    expect(both.network.streams).toBe(2)
  })

  test('are told that a server stops, and find it again when it is back', async () => {
    const both = pair()
    await both.clock.advance(20_000)
    both.high.directory.outgoing.push(stateFrame(99))
    await both.high.neighbours.close()
    await both.clock.advance(100)
    expect(headSeqs(both.low.directory.received).at(-1)).toBe(99)
    expect(both.low.directory.errors.at(-1)).toBe(ErrorReason.DRAINING)
    expect(both.network.streams).toBe(0)
    both.restart('high', 2n)
    await both.clock.advance(3_000)
    expect([both.low.isUp, both.high.isUp]).toEqual([true, true])
  })

  test('lose a server that fell silent when its pings go unanswered, and keep trying', async () => {
    const both = pair()
    await both.clock.advance(10_000)
    both.network.block('low', 'high')
    both.network.block('high', 'low')
    await both.clock.advance(4_100)
    expect([both.low.isUp, both.high.isUp]).toEqual([false, false])
    await both.clock.advance(60_000)
    both.network.unblock('low', 'high')
    both.network.unblock('high', 'low')
    await both.clock.advance(16_000)
    expect([both.low.isUp, both.high.isUp, await talks(both)]).toEqual([true, true, true])
    await both.clock.advance(60_000)
    expect(both.network.streams).toBe(2)
  })
})

describe('a server that broke the rules', () => {
  test('is told on both channels, and not heard for a while, whoever calls', async () => {
    const both = pair()
    await both.clock.advance(20_000)
    both.low.neighbours.refuse(byteKey(keys.high.publicKey), broken())
    await both.clock.advance(1_900)
    expect([both.low.isUp, both.high.isUp]).toEqual([false, false])
    expect(both.high.directory.errors.at(-1)).toBe(ErrorReason.ORIGIN_FORGED)
    expect(both.high.messages.errors.at(-1)).toBe(ErrorReason.ORIGIN_FORGED)
    const refused = ({ logged }: TestServer): unknown[] =>
      logged
        .filter(({ event }) => event === 'federation_refused')
        .map(({ by, channel, reason }) => [by, channel, reason])
    expect(refused(both.low).slice(0, 2)).toEqual([
      ['here', 'directory', 'ORIGIN_FORGED'],
      ['here', 'messages', 'ORIGIN_FORGED'],
    ])
    expect(refused(both.high).slice(0, 2)).toEqual([
      ['there', 'directory', 'ORIGIN_FORGED'],
      ['there', 'messages', 'ORIGIN_FORGED'],
    ])
    const calls = both.network.opened
    await both.clock.advance(60_000)
    expect([both.low.isUp, both.high.isUp]).toEqual([true, true])
    expect(both.network.opened - calls).toBeLessThan(12)
  })

  test('is refused with the same reason when it calls again', async () => {
    const { clock, network, low } = pair(['low'])
    await clock.advance(1_000)
    low.neighbours.refuse(byteKey(keys.high.publicKey), broken())
    await clock.advance(10)
    const raw = new RawServer(keys.high)
    raw.stream = network.trunk('raw').dial({ key: keys.low.publicKey, url: 'low' }, Channel.DIRECTORY, raw)
    raw.hello()
    await clock.advance(10)
    expect(raw.kinds).toEqual(['goaway'])
    expect(raw.goaway).toMatchObject({ reason: ErrorReason.ORIGIN_FORGED, retryable: false })
    expect(raw.goaway?.retryAfterMs).toBeGreaterThan(1_900)
  })

  test('is not the one whose name somebody else used', async () => {
    const both = pair(['high'])
    const { clock, network } = both
    const liar = new RawServer(keys.stranger)
    liar.stream = network.trunk('liar').dial({ key: keys.low.publicKey, url: 'low' }, Channel.DIRECTORY, liar)
    liar.hello({ serverKey: keys.high.publicKey })
    await clock.advance(50)
    liar.say(await liar.proof())
    await clock.advance(50)
    expect(liar.goaway?.reason).toBe(ErrorReason.SERVER_KEY_MISMATCH)
    await clock.advance(1_000)
    expect([both.low.isUp, both.high.isUp]).toEqual([true, true])
  })

  test('does not fill the log', async () => {
    const { clock, network, low } = pair([])
    for (let call = 0; call < 200; call++) {
      const raw = new RawServer(keys.stranger)
      raw.stream = network.trunk(`raw ${call}`).dial({ key: keys.low.publicKey, url: 'low' }, Channel.DIRECTORY, raw)
      raw.hello()
    }
    await clock.advance(1_000)
    expect(low.logged.length).toBeLessThan(25)
    expect(low.logged[0]).toMatchObject({ event: 'federation_refused', reason: 'NODE_NOT_ALLOWED' })
  })
})

test('a stream that is refused by the other side is tried again rarely', async () => {
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock })
  const addresses = [{ key: keys.high.publicKey, url: 'high' }]
  const low = new TestServer({ key: keys.low, trunk: network.trunk('low'), clock, addresses })
  new TestServer({ key: keys.high, trunk: network.trunk('high'), clock })
  low.neighbours.start()
  await clock.advance(1_000_000)
  expect(network.opened).toBeLessThan(30)
  expect(low.neighbours.status()[0]?.lastError).toMatch(/^NODE_NOT_ALLOWED/)
  expect(low.eventNames().every((name) => name === 'federation_refused')).toBe(true)
})

test('of two streams on one channel, an old one gives way: its far end would not have called again', async () => {
  const { clock, network, low } = pair(['low'])
  await clock.advance(60_000)
  const raw = new RawServer(keys.high)
  raw.stream = network.trunk('raw').dial({ key: keys.low.publicKey, url: 'low' }, Channel.DIRECTORY, raw)
  raw.hello({ epoch: 1n })
  await clock.advance(10)
  raw.say(await raw.proof({ epoch: 1n }))
  await clock.advance(10)
  expect(raw.kinds).toEqual(['hello', 'proof'])
  expect(raw.closed).toBeUndefined()
  expect(low.directory.events).toEqual(['up', 'down', 'up'])
})

test('closing is idempotent, and takes no calls afterwards', async () => {
  const { clock, network, low } = pair()
  await clock.advance(1_000)
  await low.neighbours.close()
  await low.neighbours.close()
  await clock.advance(60_000)
  expect(low.isUp).toBe(false)
  expect(network.openedBy('low')).toBe(0)
})
