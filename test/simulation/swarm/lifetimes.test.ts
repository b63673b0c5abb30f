import { fromBinary } from '@bufbuild/protobuf'
import { boundedMesh, formatPeerId, parsePeerId } from '@mesh/client'
import { compareBytes, generateSigningKey, type SigningKey, toHex } from '@mesh/core'
import { PeerPayloadSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'

/** Links and peers over hours, restarts and deaths, over both kinds of transport. */
let world: World

afterEach(() => world.closeAll())

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

function onlyPeer({ swarm }: TestPeer) {
  const [peer] = swarm.peers.values()
  return peer
}

function key(peer: TestPeer): Uint8Array {
  return parsePeerId(peer.swarm.id)
}

/** Two keys, the lower one first. */
async function orderedKeys(): Promise<[SigningKey, SigningKey]> {
  const [a, b] = [await generateSigningKey(), await generateSigningKey()]
  return compareBytes(a.publicKey, b.publicKey) < 0 ? [a, b] : [b, a]
}

/** The connections packets travel under through the server, in order of appearance. */
function watchConnections(): Set<string> {
  const seen = new Set<string>()
  world.signaling.tampering.envelope = (envelope) => {
    const { payload } = fromBinary(PeerPayloadSchema, envelope.payload)
    if (payload.case === 'packets') seen.add(toHex(payload.value.connectionId))
    return envelope
  }
  return seen
}

function isSignal(envelope: Envelope): boolean {
  return fromBinary(PeerPayloadSchema, envelope.payload).payload.case === 'signal'
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('over %s, a swarm', (_name, duplex) => {
  it('rekeys its links every hour, keeps order and loses nothing', async () => {
    world = await drivenWorld({ duplex })
    const connections = watchConnections()
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    const expected: string[] = []
    const sends: Promise<unknown>[] = []
    for (let i = 0; i < 28; i++) {
      expected.push(`m${i}`)
      sends.push(a.swarm.send(`m${i}`), b.swarm.send(`m${i}`))
      await world.clock.advance(5 * 60_000)
    }
    await world.settled(Promise.all(sends))
    expect([a.texts, b.texts]).toEqual([expected, expected])
    // Two hours and a third: the keys of the start, and two that replaced them.
    expect(connections.size).toBe(3)
    for (const { log } of [a, b]) expect(log.filter((entry) => !entry.startsWith('join'))).toEqual([])
    expect(onlyPeer(a)?.path).toBe('relay')
  })

  it('goes on when the answers to several calls for new keys are lost', async () => {
    world = await drivenWorld({ duplex })
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    const higher = compareBytes(key(a), key(b)) > 0 ? key(a) : key(b)
    world.signaling.tampering.envelope = (envelope) =>
      isSignal(envelope) && compareBytes(envelope.from, higher) === 0 ? undefined : envelope
    await world.clock.advance(70 * 60_000)
    await world.settled(a.swarm.send('through old keys'))
    const connections = watchConnections()
    await world.clock.advance(2 * 60_000)
    await world.settled(b.swarm.send('through new keys'))
    await world.settled(a.swarm.send('both ways'))
    expect([a.texts, b.texts]).toEqual([['through new keys'], ['through old keys', 'both ways']])
    expect(connections.size).toBeLessThanOrEqual(2)
    expect(a.log.concat(b.log).filter((entry) => entry.startsWith('leave'))).toEqual([])
  })

  it('tells a restart of a peer from its leaving, and links with the new process', async () => {
    world = await drivenWorld({ duplex })
    const identity = await generateSigningKey()
    const a = await world.join('party')
    const before = await world.joinMortal('party', identity)
    await world.until('direct', () => onlyPeer(a)?.path === 'direct')
    before.kill()
    await world.clock.advance(2_000)
    const after = await world.joinMortal('party', identity)
    await world.until('linked again', () => onlyPeer(a)?.connection === 'linked' && after.swarm.peers.size === 1)
    await world.settled(a.swarm.send('welcome back'))
    await world.settled(after.swarm.send('thanks'))
    expect([after.texts, a.texts]).toEqual([['welcome back'], ['thanks']])
    const { id } = after.swarm
    expect(a.log.filter((entry) => !entry.startsWith('update'))).toEqual([`join ${id}`, `restart ${id}`])
    await world.settled(after.swarm.close())
  })

  it('keeps a peer that was killed, away when its direct path died too, and gives it up in the end', async () => {
    world = await drivenWorld({ duplex })
    const a = await world.join('party')
    const b = await world.joinMortal('party', await generateSigningKey())
    await world.until('direct', () => onlyPeer(a)?.path === 'direct')
    await world.clock.advance(1_000)
    b.kill()
    world.signaling.expire(key(b))
    await world.until('the directory forgot it', () => a.swarm.memberCount === 0, 1_000)
    await world.clock.advance(5_000)
    expect([a.swarm.peers.size, onlyPeer(a)?.path]).toEqual([1, 'direct'])
    await world.until('away', () => onlyPeer(a)?.presence === 'away', 35_000)
    expect([onlyPeer(a)?.path, a.log.at(-1)]).toEqual(['none', `presence ${b.swarm.id}`])
    await world.clock.advance(14 * 60_000)
    expect(a.swarm.peers.size).toBe(1)
    await world.until('left', () => a.swarm.peers.size === 0, 2 * 60_000)
    expect(a.log.at(-1)).toBe(`leave ${b.swarm.id}`)
  })
})

describe('a handshake', () => {
  it('begins with a knock when the peer with the lower key does not know of the other', async () => {
    world = await drivenWorld()
    const [lower, higher] = await orderedKeys()
    world.signaling.tampering.records = (records, to) => (compareBytes(to, lower.publicKey) === 0 ? [] : records)
    const a = await world.join('party', { identity: lower })
    const b = await world.join('party', { identity: higher })
    await world.clock.advance(900)
    expect([a.swarm.peers.size, b.swarm.peers.size]).toEqual([0, 0])
    await world.until('knocked and linked', () => connected(a, b), 2_000)
  })

  it.each([
    ['Hello', 0],
    ['answer', 1],
  ] as const)('survives that the first %s is lost', async (_what, index) => {
    world = await drivenWorld()
    const keys = await orderedKeys()
    const from = (keys[index] as SigningKey).publicKey
    let lost = 0
    world.signaling.tampering.envelope = (envelope) =>
      isSignal(envelope) && compareBytes(envelope.from, from) === 0 && lost++ === 0 ? undefined : envelope
    const a = await world.join('party', { identity: keys[0] })
    const b = await world.join('party', { identity: keys[1] })
    await world.until('linked', () => connected(a, b), 5_000)
    expect(lost).toBeGreaterThan(1)
  })

  it('works again at once when a swarm is left and joined again with the same session', async () => {
    world = await drivenWorld()
    const { createClientOn } = await import('../../../client/mesh-client.ts')
    const a = await world.join('party')
    const client = await world.settled(createClientOn(world.platform, { servers: world.server, identity: 'ephemeral' }))
    for (let round = 0; round < 3; round++) {
      const swarm = await world.settled(client.join('party'))
      await world.until('linked', () => a.swarm.peers.size === 1 && swarm.peers.size === 1, 3_000)
      await world.settled(swarm.close())
      await world.until('left', () => a.swarm.peers.size === 0, 3_000)
    }
    await world.settled(client.close())
  })
})

describe('a swarm of 16', () => {
  it('stays bounded, and each peer has the links its topology asks for', async () => {
    world = await drivenWorld()
    const topology = boundedMesh({ degree: 4 })
    const peers: TestPeer[] = []
    for (let i = 0; i < 16; i++) peers.push(await world.join('party', { topology }))
    // Those who came first had links to everybody: they have to make room.
    const wanted = (peer: TestPeer) => topology.select(key(peer), peers.filter((other) => other !== peer).map(key))
    await world.until(
      'everybody has the links it asks for',
      () => peers.every((peer) => wanted(peer).every((other) => peer.swarm.peers.has(formatPeerId(other)))),
      120_000,
    )
    for (const { swarm } of peers) expect(swarm.peers.size).toBeLessThanOrEqual(topology.maxLinks)
  })
})
