import type { MeshError, PeerRestart } from '@mesh/client'
import { compareBytes, generateSigningKey, parsePeerId, type SigningKey } from '@mesh/core'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type MortalPeer, type TestPeer, type World } from './driven-world.ts'

/** A peer whose process dies and comes back: what the survivor is told of what it had sent. */
let world: World

afterEach(() => world.closeAll())

/** Two keys, the lower one first. */
async function orderedKeys(): Promise<[SigningKey, SigningKey]> {
  const [a, b] = [await generateSigningKey(), await generateSigningKey()]
  return compareBytes(a.publicKey, b.publicKey) < 0 ? [a, b] : [b, a]
}

function onlyPeer({ swarm }: TestPeer) {
  const [peer] = swarm.peers.values()
  if (!peer) throw new Error('there is no peer')
  return peer
}

function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: MeshError) => error.reasonName,
  )
}

/** What happens to A while B's process dies; B comes back when `comeBack` is called. */
async function killed(role: 'lower' | 'higher', rtc: 'direct' | 'relay') {
  world = await drivenWorld()
  const [lower, higher] = await orderedKeys()
  const [own, theirs] = role === 'lower' ? [lower, higher] : [higher, lower]
  const a = await world.join('party', { identity: own, ...(rtc === 'relay' && { rtc: null }) })
  const before = await world.joinMortal('party', theirs)
  await world.until('connected', () => a.swarm.peers.size === 1 && onlyPeer(a).path === rtc)
  await world.clock.advance(1_000)
  const restarts: PeerRestart[] = []
  onlyPeer(a).on('restart', (restart) => restarts.push(restart))
  before.kill()
  const comeBack = async (): Promise<MortalPeer> => {
    const after = await world.joinMortal('party', theirs)
    await world.until('linked again', () => onlyPeer(a).path !== 'none' && after.swarm.peers.size === 1)
    return after
  }
  return { a, theirs, restarts, comeBack }
}

describe.each([
  ['lower', 'direct'],
  ['lower', 'relay'],
  ['higher', 'direct'],
  ['higher', 'relay'],
] as const)('a restarted peer, seen from the side with the %s key over the %s path,', (role, path) => {
  it('is told of, with every send it had not acknowledged', async () => {
    const { a, restarts, comeBack } = await killed(role, path)
    const channel = await world.settled(onlyPeer(a).open('log'))
    const writing = outcome(
      channel.writable
        .getWriter()
        .write(new Uint8Array(10))
        .then(() => channel.close()),
    )
    const lost = [
      onlyPeer(a).send('one'),
      onlyPeer(a).send(new Uint8Array(2_000_000)),
      onlyPeer(a).request('anybody?'),
    ].map(outcome)
    await world.clock.advance(2_000)
    const after = await comeBack()
    expect(await Promise.all([...lost, writing])).toEqual(Array(4).fill('PEER_RESTARTED'))
    expect((await channel.closed)?.reasonName).toBe('PEER_RESTARTED')
    await world.settled(a.swarm.send('welcome back'))
    expect(after.texts).toEqual(['welcome back'])
    expect(restarts).toEqual([{ undelivered: 3 }])
    await world.settled(after.swarm.close())
  })

  it('is told of once, also when the old process had been away for long', async () => {
    const { a, theirs, restarts, comeBack } = await killed(role, path)
    const lost = outcome(onlyPeer(a).send('into the void'))
    await world.clock.advance(20_000)
    world.signaling.expire(theirs.publicKey)
    await world.clock.advance(300_000)
    const { id } = onlyPeer(a)
    expect(onlyPeer(a).presence).toBe('away')
    const after = await comeBack()
    expect(await lost).toBe('PEER_RESTARTED')
    await world.settled(a.swarm.send('welcome back'))
    await world.clock.advance(60_000)
    expect(restarts).toEqual([{ undelivered: 1 }])
    expect(a.log.filter((entry) => !entry.startsWith('update'))).toEqual([
      `join ${id}`,
      `presence ${id}`,
      `restart ${id}`,
      `presence ${id}`,
    ])
    await world.settled(after.swarm.close())
  })
})

describe('a peer that only lost its server', () => {
  it('has not restarted', async () => {
    world = await drivenWorld()
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.until('connected', () => a.swarm.peers.size === 1 && b.swarm.peers.size === 1)
    world.signaling.restart()
    const sent = outcome(onlyPeer(a).send('over a new session'))
    await world.settled(sent)
    world.signaling.expire(parsePeerId(b.swarm.id))
    await world.until('back', () => b.swarm.status === 'joined' && onlyPeer(a).path === 'relay')
    await world.settled(b.swarm.send('again'))
    expect([await sent, b.texts, a.texts]).toEqual(['done', ['over a new session'], ['again']])
    expect(a.log.filter((entry) => entry.startsWith('restart'))).toEqual([])
  })
})
