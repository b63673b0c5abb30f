import { parsePeerId } from '@mesh/client'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'
import { talk } from './talk.ts'

/** Streams that break, events that are lost, a server that forgets everything: what the SDK makes up for, on both transports. */
let world: World

afterEach(() => world.closeAll())

/** A peer that talks through the server only. */
function join(): Promise<TestPeer> {
  return world.join('party', { rtc: null })
}

function key({ swarm }: TestPeer): Uint8Array {
  return parsePeerId(swarm.id)
}

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

/** What a peer was told of others that came, went or started again, since it was connected. */
function news(...peers: TestPeer[]): string[] {
  return peers.flatMap(({ log }) => log.filter((entry) => !entry.startsWith('join')))
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('over %s, a swarm', (_name, duplex) => {
  it('goes on where it was when a stream breaks, and neither loses nor repeats anything', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b)
    for (let round = 0; round < 5; round++) {
      world.signaling.breakStreams(key(round % 2 === 0 ? a : b))
      await world.clock.advance(1_500)
    }
    expect(await talking.finish()).toBeLessThan(1_000)
    expect(news(a, b)).toEqual([])
  })

  it('sends again what a server lost on the way, as often as it does', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b)
    for (let round = 0; round < 5; round++) {
      world.signaling.breakStreams(key(b))
      await world.clock.advance(45)
      world.signaling.loseEvents(key(b))
      await world.clock.advance(2_000)
    }
    await talking.finish()
    expect(news(a, b)).toEqual([])
  })

  it('asks anew who is there when it is told of a gap', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    world.signaling.breakStreams(key(a))
    const c = await join()
    await world.settled(b.swarm.close())
    world.signaling.loseEvents(key(a))
    await world.until('the one that came is there, and the one that left is not', () => {
      const ids = [...a.swarm.peers.keys()]
      return a.swarm.memberCount === 1 && ids.length === 1 && ids[0] === c.swarm.id
    })
    await world.settled(a.swarm.send('hello'))
    expect(c.texts).toEqual(['hello'])
  })

  it('sends again what nobody acknowledged when the server forgets everything, as often as it does', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b)
    for (let round = 0; round < 5; round++) {
      world.signaling.restart()
      await world.clock.advance(2_500)
    }
    expect(await talking.finish()).toBeLessThan(5_000)
    expect(news(a, b)).toEqual([])
  })

  it('outlives a server that is away for minutes, with what was on its way', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    await world.settled(a.swarm.send('before'))
    world.signaling.tampering = { envelope: () => undefined }
    const sent = a.swarm.send('on its way', { to: b.swarm.id })
    await world.clock.advance(100)
    world.signaling.stop()
    world.signaling.tampering = {}
    await world.clock.advance(120_000)
    world.signaling.restart()
    await world.settled(sent)
    await world.settled(b.swarm.send('after', { to: a.swarm.id }))
    expect([b.texts, a.texts]).toEqual([['before', 'on its way'], ['after']])
    const told = news(a, b).filter((entry) => !entry.startsWith('presence'))
    expect(told).toEqual([])
  })

  it('links although the server forgets everything in the middle of each handshake', async () => {
    world = await drivenWorld({ duplex })
    let signals = 0
    world.signaling.tampering.envelope = (envelope) => {
      signals++
      if (signals <= 6) queueMicrotask(() => world.signaling.restart())
      return envelope
    }
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    await world.settled(a.swarm.send('at last'))
    expect(b.texts).toEqual(['at last'])
  })

  it('renews sessions and records for hours without losing, repeating or announcing anything', async () => {
    world = await drivenWorld({ duplex })
    const [a, b] = [await join(), await join()]
    await world.until('connected', () => connected(a, b))
    const talking = talk(world, a, b, 60_000)
    await world.clock.advance(3 * 3_600_000)
    expect(await talking.finish()).toBeLessThan(100)
    expect(news(a, b)).toEqual([])
  })
})
