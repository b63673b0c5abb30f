import type { MeshError, PeerPath } from '@mesh/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createClientOn } from '../../../client/mesh-client.ts'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'

/** What the `relay` option of a swarm allows, and what it keeps from happening. */
let world: World
let relayedBytes: number

beforeEach(async () => {
  world = await drivenWorld()
  relayedBytes = 0
  world.signaling.tampering.envelope = (envelope) => {
    relayedBytes += envelope.payload.length
    return envelope
  }
})
afterEach(() => world.closeAll())

function onlyPeer({ swarm }: TestPeer) {
  const [peer] = swarm.peers.values()
  return peer
}

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

function direct(...peers: TestPeer[]): boolean {
  return connected(...peers) && peers.every((peer) => onlyPeer(peer)?.path === 'direct')
}

/** Every path the peer has had since it joined. */
function pathsOf(peer: TestPeer): PeerPath[] {
  const paths: PeerPath[] = []
  peer.swarm.on('join', (other) => other.on('path', (path) => paths.push(path)))
  return paths
}

function reasonOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: MeshError) => error.reasonName,
  )
}

const LARGE = new Uint8Array(200_000)

describe("relay: 'fallback'", () => {
  it('is the default: relayed at once, direct when possible, relayed again when that breaks', async () => {
    const a = await world.join('party')
    const paths = pathsOf(a)
    const b = await world.join('party')
    await world.until('direct', () => direct(a, b))
    world.rtc.blocked = true
    await world.until('relayed', () => onlyPeer(a)?.path === 'relay', 20_000)
    await world.settled(b.swarm.send('through the server'))
    world.rtc.blocked = false
    await world.until('direct again', () => direct(a, b), 600_000)
    expect(paths).toEqual(['relay', 'direct', 'relay', 'direct'])
    expect(a.texts).toEqual(['through the server'])
  })
})

describe("relay: 'only'", () => {
  it('tries no WebRTC, whichever side asks for it', async () => {
    const a = await world.join('party', { relay: 'only' })
    const b = await world.join('party')
    const c = await world.join('party', { relay: 'only' })
    await world.until('connected', () => connected(a, b, c))
    await world.settled(a.swarm.send('hi'))
    await world.clock.advance(120_000)
    expect(b.texts).toEqual(['hi'])
    expect(world.rtc.open).toBe(0)
    for (const peer of [...a.swarm.peers.values(), ...b.swarm.peers.values()]) expect(peer.path).toBe('relay')
    const diagnosis = await a.swarm.peers.get(b.swarm.id)?.diagnose()
    expect(diagnosis?.direct).toMatchObject({ state: 'off', error: { reasonName: 'RTC_UNAVAILABLE' } })
  })

  it('shares the direct path of another swarm, as long as that uses the link', async () => {
    const options = { servers: world.server, identity: 'ephemeral' }
    const [a, b] = [await createClientOn(world.platform, options), await createClientOn(world.platform, options)]
    const relayed = await world.settled(a.join('relayed', { relay: 'only' }))
    await world.settled(b.join('relayed', { relay: 'only' }))
    await world.until('relayed', () => relayed.peers.size === 1)
    await world.clock.advance(10_000)
    const peer = [...relayed.peers.values()][0]
    expect(peer?.path).toBe('relay')
    const open = await world.settled(a.join('open'))
    await world.settled(b.join('open'))
    await world.until('direct', () => peer?.path === 'direct')
    await world.settled(open.close())
    await world.until('relayed again', () => peer?.path === 'relay')
    await world.clock.advance(60_000)
    expect(world.rtc.open).toBe(0)
    await world.settled(Promise.all([a.close(), b.close()]))
  })
})

describe("relay: 'never'", () => {
  it('keeps data off the server, and lets it wait for the direct path', async () => {
    world.rtc.blocked = true
    const a = await world.join('party', { relay: 'never' })
    const b = await world.join('party')
    const late = reasonOf(b.swarm.send(LARGE, { to: a.swarm.id }))
    await world.clock.advance(14_000)
    // Neither is told of the other before something can be sent.
    expect([a.log, b.log]).toEqual([[], []])
    world.rtc.blocked = false
    expect(await world.settled(late)).toBe('ICE_FAILED')
    await world.until('direct', () => direct(a, b))
    await world.settled(b.swarm.send(LARGE))
    expect(a.messages.map(({ bytes }) => bytes.length)).toEqual([LARGE.length])
    expect(relayedBytes).toBeLessThan(20_000)
  })

  it('ends channels with the direct path, reports what was not delivered, and goes on when it is back', async () => {
    const a = await world.join('party', { relay: 'never' })
    const paths = pathsOf(a)
    const b = await world.join('party')
    await world.until('direct', () => direct(a, b))
    const channel = await world.settled(onlyPeer(b)?.open('idle') ?? Promise.reject(new Error('no peer')))
    world.rtc.blocked = true
    const lost = reasonOf(onlyPeer(b)?.send(LARGE) ?? Promise.resolve())
    await world.until('broken', () => onlyPeer(a)?.path === 'none' && onlyPeer(b)?.path === 'none', 40_000)
    expect(await world.settled(lost)).toBe('LINK_CLOSED')
    expect((await world.settled(channel.closed))?.reasonName).toBe('LINK_CLOSED')
    world.rtc.blocked = false
    await world.until('direct again', () => direct(a, b), 600_000)
    await world.settled(b.swarm.send('over'))
    expect(a.texts).toEqual(['over'])
    expect(paths).toEqual(['direct', 'none', 'direct'])
    expect(relayedBytes).toBeLessThan(20_000)
    expect(a.log.filter((entry) => !entry.startsWith('join'))).toEqual([])
  })

  it('cannot be where there is no WebRTC', async () => {
    await expect(world.join('party', { relay: 'never', rtc: null })).rejects.toMatchObject({
      reasonName: 'CONFIGURATION',
    })
  })

  it("finds no path to a peer that says 'only', and says so on both sides", async () => {
    const a = await world.join('party', { relay: 'never' })
    const b = await world.join('party', { relay: 'only' })
    const failed = [reasonOf(a.swarm.send('hi', { to: b.swarm.id })), reasonOf(b.swarm.send('hi', { to: a.swarm.id }))]
    expect(await world.settled(Promise.all(failed))).toEqual(['CONFIGURATION', 'CONFIGURATION'])
    expect([a.swarm.peers.size, b.swarm.peers.size]).toEqual([0, 0])
  })
})

describe('peer.allowDirect', () => {
  it.each([0, 1])(
    'cuts the direct path of one peer and lets it come back, whichever side says so: %s',
    async (side) => {
      const a = await world.join('party')
      const b = await world.join('party')
      const c = await world.join('party')
      const all = (path: PeerPath) =>
        connected(a, b, c) &&
        a.swarm.peers.get(b.swarm.id)?.path === path &&
        b.swarm.peers.get(a.swarm.id)?.path === path
      await world.until('direct', () => all('direct'))
      const [own, theirs] = side === 0 ? [a, b] : [b, a]
      const peer = own.swarm.peers.get(theirs.swarm.id)
      peer?.allowDirect(false)
      const sent = peer?.send('by the server')
      await world.until('relayed', () => all('relay'), 1_000)
      await world.settled(sent ?? Promise.resolve())
      await world.clock.advance(600_000)
      expect([all('relay'), peer?.directAllowed, theirs.texts]).toEqual([true, false, ['by the server']])
      expect(c.swarm.peers.get(a.swarm.id)?.path).toBe('direct')
      peer?.allowDirect(true)
      await world.until('direct again', () => all('direct'), 2_000)
    },
  )
})
