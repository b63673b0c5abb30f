import { parsePeerId } from '@mesh/client'
import type { SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, describe, expect, it } from 'vitest'
import type { MemorySignalService } from '../../../client/testing/index.ts'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'
import { talk } from './talk.ts'

/** The real SDK at two signaling servers at once, while one or the other is down, hangs, lies or drains. */
let world: World

afterEach(() => world.closeAll())

function signaling(index: number): MemorySignalService {
  return (world.servers[index] as { signaling: MemorySignalService }).signaling
}

function origins(...indexes: number[]): string[] {
  return indexes.map((index) => (world.servers[index] as { origin: string }).origin)
}

/** A peer at those servers that talks through them only. */
function joinAt(...indexes: number[]): Promise<TestPeer> {
  return world.join('party', { servers: origins(...indexes), rtc: null })
}

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

function departures(...peers: TestPeer[]): string[] {
  return peers.flatMap(({ log }) => log.filter((entry) => /^(leave|restart)/.test(entry)))
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('over %s, two servers', (_name, duplex) => {
  it.each([
    ['know nothing of each other', false],
    ['are federated', true],
  ])('that %s carry every message once, and show every peer once', async (_how, federated) => {
    world = await drivenWorld({ servers: 2, duplex, federated })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    const c = await joinAt(1)
    await world.until('connected', () => connected(a, b, c))
    const talking = talk(world, a, b)
    await world.clock.advance(3_000)
    // What a and b tell each other, c is told too.
    expect(await talking.finish()).toBeLessThan(50)
    expect([a, b, c].map(({ swarm }) => swarm.memberCount)).toEqual([2, 2, 2])
    expect(a.log.filter((entry) => entry === `join ${b.swarm.id}`)).toHaveLength(1)
    expect(departures(a, b, c)).toEqual([])
  })

  it('bring together whoever shares one of them', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const both = await joinAt(0, 1)
    const first = await joinAt(0)
    const second = await joinAt(1)
    await world.until('connected', () => both.swarm.peers.size === 2)
    await world.settled(both.swarm.send('hello'))
    await world.settled(first.swarm.send('from the first'))
    await world.settled(second.swarm.send('from the second'))
    expect([first.texts, second.texts]).toEqual([['hello'], ['hello']])
    expect(both.texts).toEqual(['from the first', 'from the second'])
    expect([first.swarm.peers.size, second.swarm.peers.size]).toEqual([1, 1])
    // Records have been signed again meanwhile, in whatever order.
    await world.clock.advance(25 * 60_000)
    const [late, later] = [await joinAt(0), await joinAt(1)]
    await world.until('connected later too', () => both.swarm.peers.size === 4, 3_000)
    expect([late.swarm.peers.size, later.swarm.peers.size]).toEqual([2, 2])
  })

  it('cost no time and no error when one is dead from the start, and take part when it comes', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    signaling(0).stop()
    const startMs = world.clock.monotonicMs()
    const a = await joinAt(0, 1)
    const errors: unknown[] = []
    a.swarm.on('error', (error) => errors.push(error))
    const b = await joinAt(1, 0)
    await world.until('connected', () => connected(a, b))
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(50)
    await world.clock.advance(60_000)
    expect([a.swarm.status, errors]).toEqual(['joined', []])
    signaling(0).restart()
    await world.until('both are there', () => signaling(0).sessionCount === 2, 30_000)
    signaling(1).stop()
    await world.settled(a.swarm.send('over the one that came'))
    expect([b.texts, departures(a, b)]).toEqual([['over the one that came'], []])
  })

  it('lose nothing while one after the other is killed and started again', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b, 400)
    for (let round = 0; round < 4; round++) {
      const victim = signaling(round % 2)
      victim.stop()
      await world.clock.advance(5_000 + round * 1_000)
      victim.restart()
      await world.until('it is joined again', () => victim.sessionCount === 2, 30_000)
      await world.clock.advance(2_000)
    }
    expect(await talking.finish()).toBeLessThan(1_500)
    expect([departures(a, b), a.swarm.status]).toEqual([[], 'joined'])
  })

  it('do not wait for one that hangs', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b, 400)
    await world.clock.advance(1_000)
    signaling(0).freeze(true)
    await world.clock.advance(40_000)
    signaling(0).freeze(false)
    await world.clock.advance(10_000)
    expect(await talking.finish()).toBeLessThan(1_500)
    expect(departures(a, b)).toEqual([])
  })

  it('lose a peer only together', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    await world.until('connected', () => connected(a, b))
    signaling(0).expire(parsePeerId(b.swarm.id))
    await world.clock.advance(100)
    expect([a.swarm.memberCount, a.swarm.peers.size]).toEqual([1, 1])
    await world.clock.advance(10_000)
    expect(departures(a, b)).toEqual([])
  })

  it('show a departure at once although one is down that listed the peer', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    await world.until('connected', () => connected(a, b))
    signaling(0).stop()
    await world.clock.advance(1_000)
    await world.settled(b.swarm.close())
    await world.until('left', () => a.swarm.peers.size === 0 && a.swarm.memberCount === 0, 500)
  })

  it('forget what one said that has been out of reach for longer than a lease', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    await joinAt(0)
    await joinAt(1)
    await world.until('listed', () => a.swarm.memberCount === 2)
    signaling(0).stop()
    await world.clock.advance(14_000)
    expect(a.swarm.memberCount).toBe(2)
    await world.clock.advance(8_000)
    expect(a.swarm.memberCount).toBe(1)
    signaling(0).restart()
    await world.until('listed again', () => a.swarm.memberCount === 2, 40_000)
  })

  it('hear of a change of state once, through whichever tells first', async () => {
    world = await drivenWorld({ servers: 2, duplex })
    const a = await joinAt(0, 1)
    const b = await joinAt(0, 1)
    await world.until('connected', () => connected(a, b))
    signaling(1).stop()
    b.swarm.setState(new TextEncoder().encode('busy'))
    await world.clock.advance(500)
    signaling(1).restart()
    await world.clock.advance(60 * 60_000)
    const [peer] = a.swarm.peers.values()
    expect(new TextDecoder().decode(peer?.state)).toBe('busy')
    expect(a.log.filter((entry) => entry.startsWith('update'))).toHaveLength(1)
    expect(departures(a, b)).toEqual([])
  })
})

describe('a server that lies beside one that does not', () => {
  const alter = ({ payload, ...rest }: Envelope): Envelope => ({ ...rest, payload: payload.map((byte) => byte ^ 1) })

  it.each([
    ['drops every envelope', { envelope: () => undefined }],
    ['alters every envelope', { envelope: alter }],
    ['doubles every envelope', { envelope: (envelope: Envelope) => [envelope, envelope] }],
    ['hides every member', { records: () => [] }],
  ])('and %s changes nothing', async (_what, tampering) => {
    for (const liar of [0, 1]) {
      world = await drivenWorld({ servers: 2 })
      signaling(liar).tampering = tampering
      const a = await joinAt(0, 1)
      const b = await joinAt(0, 1)
      await world.until('connected', () => connected(a, b), 15_000)
      const talking = talk(world, a, b)
      await world.clock.advance(2_000)
      await talking.finish()
      expect(departures(a, b)).toEqual([])
      signaling(liar).tampering = {}
      if (liar === 0) await world.closeAll()
    }
  })
})

describe('a server that shows sessions that are over, beside one that shows those that live', () => {
  it('delays a link by some calls at most', async () => {
    world = await drivenWorld({ servers: 2 })
    const over: SignedRecord[] = []
    const silence = { envelope: () => undefined }
    signaling(0).tampering = silence
    signaling(1).tampering = {
      ...silence,
      records: (records) => {
        over.push(...records)
        return records
      },
    }
    const [a, b] = [await joinAt(0, 1), await joinAt(0, 1)]
    // Both have another session there from now on, which nobody is told of.
    signaling(1).tampering = { ...silence, records: () => over }
    signaling(1).restart()
    await world.until('joined again', () => signaling(1).sessionCount === 2)
    signaling(0).tampering = {}
    signaling(1).tampering = { records: () => over }
    await world.until('connected', () => connected(a, b), 45_000)
    await world.settled(b.swarm.send('hello'))
    expect(a.texts).toEqual(['hello'])
  })
})

describe('a draining server', () => {
  const DEADLINE_MS = 10_000

  it.each([
    ['that knows nothing of it', false],
    ['that it is federated with', true],
  ])('hands its clients to a successor %s, unseen by any of them', async (_how, federated) => {
    world = await drivenWorld({ servers: 2, federated, duplex: true })
    const peers = [await joinAt(0), await joinAt(0), await joinAt(0)]
    await world.until('connected', () => connected(...peers))
    const talking = talk(world, peers[0] as TestPeer, peers[1] as TestPeer)
    const [, successor] = world.servers
    const startMs = world.clock.monotonicMs()
    signaling(0).drain(DEADLINE_MS, { origin: (successor as { origin: string }).origin, key: signaling(1).publicKey })
    await world.until('everybody moved', () => signaling(0).sessionCount === 0, DEADLINE_MS)
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(DEADLINE_MS * 0.8)
    await world.clock.advance(DEADLINE_MS)
    // Nothing was late, although the first server is gone.
    expect(await talking.finish()).toBeLessThan(500)
    expect(departures(...peers)).toEqual([])
    const newcomer = await joinAt(1)
    await world.until('the newcomer finds all', () => newcomer.swarm.peers.size === 3)
  })

  it('that another server of the list stands for is let go early, and joined again after its time', async () => {
    world = await drivenWorld({ servers: 2 })
    const peers = [await joinAt(0, 1), await joinAt(0, 1)] as const
    await world.until('connected', () => connected(...peers))
    const talking = talk(world, ...peers)
    signaling(0).drain(DEADLINE_MS)
    await world.clock.advance(DEADLINE_MS + 1_000)
    signaling(0).restart()
    await world.until('joined again', () => signaling(0).sessionCount === 2, 30_000)
    expect(await talking.finish()).toBeLessThan(500)
    expect(departures(...peers)).toEqual([])
  })

  it('without a successor keeps its clients to the end, and they come back to it', async () => {
    world = await drivenWorld()
    const peers = [await joinAt(0), await joinAt(0)] as const
    await world.until('connected', () => connected(...peers))
    signaling(0).drain(DEADLINE_MS)
    await world.clock.advance(DEADLINE_MS - 100)
    await world.settled(peers[0].swarm.send('until the end'))
    await world.clock.advance(2_000)
    expect(peers[0].swarm.status).toBe('reconnecting')
    signaling(0).restart()
    await world.until('joined', () => peers.every(({ swarm }) => swarm.status === 'joined'), 30_000)
    await world.settled(peers[0].swarm.send('and after'))
    expect([peers[1].texts, departures(...peers)]).toEqual([['until the end', 'and after'], []])
  })

  it('does not lose a peer that cannot move, before its time', async () => {
    world = await drivenWorld({ servers: 2 })
    const stays = await joinAt(0)
    const moves = await joinAt(0)
    await world.until('connected', () => connected(stays, moves))
    signaling(1).stop()
    signaling(0).drain(DEADLINE_MS, { origin: origins(1)[0] as string, key: signaling(1).publicKey })
    const talking = talk(world, stays, moves)
    await world.clock.advance(DEADLINE_MS - 1_000)
    expect(await talking.finish()).toBeLessThan(500)
    signaling(0).restart()
    signaling(1).restart()
    await world.until('joined', () => [stays, moves].every(({ swarm }) => swarm.status === 'joined'), 60_000)
    expect(departures(stays, moves)).toEqual([])
  })
})
