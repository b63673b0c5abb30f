import { parsePeerId } from '@mesh/client'
import { generateSigningKey } from '@mesh/core'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'

/** Who is there, what they say of themselves, and since when they are not: the same by the server and by direct paths. */
let world: World

afterEach(() => world.closeAll())

function other(peer: TestPeer, of: TestPeer) {
  const found = peer.swarm.peers.get(of.swarm.id)
  if (!found) throw new Error('the peer is not in the swarm')
  return found
}

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

describe('presence', () => {
  it('is what a live direct path says, when the server says otherwise', async () => {
    world = await drivenWorld()
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    // The server has lost b, and a hears so; b is there all the same.
    world.signaling.tampering.records = (records) => (records.length > 0 ? [] : records)
    world.signaling.expire(parsePeerId(b.swarm.id))
    await world.clock.advance(120_000)
    expect([other(a, b).presence, other(a, b).path]).toEqual(['online', 'direct'])
    expect(world.clock.wallMs() - other(a, b).lastSeenMs).toBeLessThan(6_000)
    await world.settled(a.swarm.send('still there'))
    expect(b.texts).toEqual(['still there'])
  })

  it('is what the server says, when there is no direct path', async () => {
    world = await drivenWorld()
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    await world.clock.advance(3_600_000)
    expect([other(a, b).presence, other(a, b).path]).toEqual(['online', 'relay'])
    // Records are renewed every ten minutes.
    expect(world.clock.wallMs() - other(a, b).lastSeenMs).toBeLessThanOrEqual(600_000)
  })

  it.each(['direct', 'relay'] as const)(
    'of a peer that was killed is away by the %s path, for everybody',
    async (path) => {
      world = await drivenWorld()
      const options = path === 'relay' ? { rtc: null } : {}
      const a = await world.join('party', options)
      const c = await world.join('party', options)
      const b = await world.joinMortal('party', await generateSigningKey())
      await world.until('connected', () => connected(a, b, c) && other(a, b).path === path && other(c, b).path === path)
      const told: string[] = []
      other(a, b).on('presence', (presence) => told.push(presence))
      await world.clock.advance(5_000)
      const killedAtMs = world.clock.wallMs()
      b.kill()
      await world.clock.advance(15_000)
      world.signaling.expire(parsePeerId(b.swarm.id))
      // The server has waited for it; a direct path may be silent for 5 s less by then.
      const withinMs = path === 'relay' ? 100 : 5_100
      await world.until('away', () => [a, c].every((peer) => other(peer, b).presence === 'away'), withinMs)
      expect(told).toEqual(['away'])
      expect(other(a, b).lastSeenMs).toBeLessThanOrEqual(killedAtMs)
      // Those that are there do not wait for the one that is not.
      const report = await world.settled(a.swarm.send('who is there?'), 1_000)
      expect(report.delivered.map(({ id }) => id)).toEqual([c.swarm.id])
      expect(report.failed.map(({ peer, error }) => [peer.id, error.reasonName])).toEqual([[b.swarm.id, 'PEER_ASLEEP']])
    },
  )

  it('of a peer whose server gave it up is away 15 s after its direct path brought something last', async () => {
    world = await drivenWorld()
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    world.signaling.tampering.records = (records) => (records.length > 0 ? [] : records)
    world.signaling.expire(parsePeerId(b.swarm.id))
    await world.clock.advance(60_000)
    expect(other(a, b).presence).toBe('online')
    // Closed, and not fallen silent.
    world.rtc.killAll()
    await world.until('no path', () => other(a, b).path === 'none', 1_000)
    await world.clock.advance(9_000)
    expect(other(a, b).presence).toBe('online')
    await world.until('away', () => other(a, b).presence === 'away', 6_100)
  })

  it('of a peer that slept until its server gave it up is away from then until it wakes', async () => {
    world = await drivenWorld()
    const a = await world.join('party', { rtc: null })
    const b = await world.joinSleepy('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    const told: string[] = []
    other(a, b).on('presence', (presence) => told.push(presence))
    b.sleep('stopped')
    // Heartbeats that are not taken for 25 s, and the lease.
    await world.clock.advance(40_000)
    expect(told).toEqual([])
    world.signaling.expire(parsePeerId(b.swarm.id))
    await world.until('away', () => told.length === 1, 100)
    await world.clock.advance(60_000)
    b.wake()
    await world.until('back', () => told.length === 2, 2_000)
    expect(told).toEqual(['away', 'online'])
  })

  it('settles a broadcast when a peer goes away before it has answered', async () => {
    world = await drivenWorld()
    const a = await world.join('party')
    const b = await world.joinMortal('party', await generateSigningKey())
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    b.kill()
    const sent = a.swarm.send('are you there?')
    world.signaling.expire(parsePeerId(b.swarm.id))
    const { failed } = await world.settled(sent)
    expect(failed.map(({ error }) => error.reasonName)).toEqual(['PEER_ASLEEP'])
  })

  it('of a peer that left is not kept, and ends what listens to it', async () => {
    world = await drivenWorld()
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    const left: string[] = []
    other(a, b).on('leave', ({ reasonName }) => left.push(reasonName))
    await world.settled(b.swarm.close())
    await world.until('left', () => a.swarm.peers.size === 0, 1_000)
    expect(left).toEqual(['PEER_LEFT'])
  })
})

describe('room for newcomers', () => {
  it('is made by those that are away, the longest first, and not by those that are there', async () => {
    world = await drivenWorld()
    const topology = { maxLinks: 3, select: (_own: Uint8Array, members: readonly Uint8Array[]) => [...members] }
    const a = await world.join('party', { topology })
    const gone = [
      await world.joinMortal('party', await generateSigningKey()),
      await world.joinMortal('party', await generateSigningKey()),
    ]
    const b = await world.join('party')
    await world.until('connected', () => a.swarm.peers.size === 3)
    for (const peer of gone) {
      peer.kill()
      world.signaling.expire(parsePeerId(peer.swarm.id))
      await world.until('away', () => other(a, peer).presence === 'away', 60_000)
    }
    const c = await world.join('party')
    await world.until('linked to the newcomer', () => a.swarm.peers.has(c.swarm.id), 10_000)
    expect([...a.swarm.peers.keys()].sort()).toEqual([b, c, gone[1] as TestPeer].map(({ swarm }) => swarm.id).sort())
    const d = await world.join('party')
    await world.until('linked to the newcomer', () => a.swarm.peers.has(d.swarm.id), 10_000)
    await world.join('party')
    await world.clock.advance(20_000)
    expect([...a.swarm.peers.keys()].sort()).toEqual([b, c, d].map(({ swarm }) => swarm.id).sort())
  })
})

describe('state', () => {
  it('is told over direct paths while no server can be reached, and by the server to the others', async () => {
    world = await drivenWorld()
    const a = await world.join('party')
    const b = await world.join('party', { state: new TextEncoder().encode('here') })
    const c = await world.join('party', { rtc: null })
    await world.until('connected', () => connected(a, b, c) && other(a, b).path === 'direct')
    const told: string[] = []
    other(a, b).on('state', (state) => told.push(text(state)))
    a.log.length = 0
    world.signaling.stop()
    b.swarm.setState(new TextEncoder().encode('busy'))
    await world.until('told', () => text(other(a, b).state) === 'busy', 2_000)
    expect([told, text(other(c, b).state)]).toEqual([['busy'], 'here'])
    world.signaling.restart()
    await world.until('told by the server', () => text(other(c, b).state) === 'busy')
    await world.clock.advance(30_000)
    expect([told, a.log.filter((entry) => entry.startsWith('update'))]).toEqual([['busy'], [`update ${b.swarm.id}`]])
  })
})
