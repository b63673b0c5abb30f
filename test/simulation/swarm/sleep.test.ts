import { type Channel, type MeshError, parsePeerId } from '@mesh/client'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type SleepyPeer, type TestPeer, type World } from './driven-world.ts'

/** A peer whose machine sleeps, and what is left of its swarm, its links and its streams when it wakes. */
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

/** What was lost with a peer. */
function losses({ log }: TestPeer): string[] {
  return log.filter((entry) => /^(leave|restart)/.test(entry))
}

/** Sleeps until `ms` are over; the server gives the sleeper up after heartbeats and a lease. */
async function sleepFor(sleeper: SleepyPeer, kind: 'stopped' | 'suspended', ms: number): Promise<void> {
  const givenUpMs = Math.min(ms, 50_000)
  sleeper.sleep(kind)
  await world.clock.advance(givenUpMs)
  if (ms > givenUpMs) world.signaling.expire(parsePeerId(sleeper.swarm.id))
  await world.clock.advance(ms - givenUpMs)
  sleeper.wake()
}

/** Reads what arrives on a channel, as text. */
function collect(channel: Channel): { text: string } {
  const read = { text: '' }
  const reading = async () => {
    for await (const chunk of channel.readable) read.text += new TextDecoder().decode(chunk)
  }
  reading().catch(() => undefined)
  return read
}

describe.each([
  ['stopped', 'direct', false],
  ['stopped', 'relay', true],
  ['suspended', 'direct', true],
  ['suspended', 'relay', false],
] as const)('a machine that was %s for ten minutes, with links over the %s path,', (kind, path, duplex) => {
  it('is back within 2 s with the same links, and nothing was lost', async () => {
    world = await drivenWorld({ duplex })
    const options = path === 'relay' ? { rtc: null } : {}
    const a = await world.join('party', options)
    const b = await world.joinSleepy('party', options)
    await world.until('connected', () => connected(a, b) && other(a, b).path === path && other(b, a).path === path)
    const streams: { text: string }[] = []
    a.swarm.on('channel', (channel) => streams.push(collect(channel)))
    const writer = (await world.settled(other(b, a).open('log'))).writable.getWriter()
    await world.settled(writer.write(new TextEncoder().encode('before ')))
    await world.clock.advance(1_000)

    const sent = [other(b, a).send('falling asleep')]
    b.sleep(kind)
    sent.push(other(a, b).send('are you asleep?'))
    await world.clock.advance(1_000)
    b.calls.length = 0
    await sleepFor(b, kind, 600_000)
    expect(other(a, b).presence).toBe('away')
    expect(other(a, b).lastSeenMs).toBeLessThan(world.clock.wallMs() - 590_000)

    await world.clock.advance(2_000)
    expect([b.swarm.status, other(a, b).presence, other(b, a).presence]).toEqual(['joined', 'online', 'online'])
    expect([other(a, b).path, other(b, a).path]).not.toContain('none')
    expect([a.texts, b.texts]).toEqual([['falling asleep'], ['are you asleep?']])
    await Promise.all(sent)
    await world.settled(writer.write(new TextEncoder().encode('after')))
    await world.settled(writer.close())
    expect(streams).toEqual([{ text: 'before after' }])
    // A session, a stream, a membership: each asked for once or twice, not again and again.
    expect(b.calls.length).toBeLessThanOrEqual(12)

    await world.clock.advance(600_000)
    expect([losses(a), losses(b)]).toEqual([[], []])
    expect(other(a, b).path).toBe(path)
  })

  it('has nothing to mend after a few seconds of sleep', async () => {
    world = await drivenWorld({ duplex })
    const options = path === 'relay' ? { rtc: null } : {}
    const a = await world.join('party', options)
    const b = await world.joinSleepy('party', options)
    await world.until('connected', () => connected(a, b) && other(b, a).path === path)
    await world.clock.advance(15_000)
    b.calls.length = 0
    b.sleep(kind)
    const sent = other(a, b).send('hello?')
    await world.clock.advance(8_000)
    b.wake()
    await world.settled(sent, 3_000)
    await world.clock.advance(60_000)
    expect([...a.log, ...b.log].filter((entry) => !entry.startsWith('join'))).toEqual([])
    expect(other(b, a).path).toBe(path)
    // The stream may be asked about, or opened again; the session and the membership stand.
    expect(b.calls.filter((name) => name === 'OpenSession' || name === 'Join')).toEqual([])
  })
})

describe.each(['stopped', 'suspended'] as const)('machines that were %s', (kind) => {
  it('find each other again when both slept', async () => {
    world = await drivenWorld()
    const a = await world.joinSleepy('party')
    const b = await world.joinSleepy('party')
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    a.sleep(kind)
    const sent = other(b, a).send('see you later')
    await world.clock.advance(60_000)
    world.signaling.expire(parsePeerId(a.swarm.id))
    await world.clock.advance(30_000)
    await sleepFor(b, kind, 300_000)
    await world.clock.advance(100_000)
    a.wake()
    await world.settled(sent, 3_000)
    await world.until('direct', () => other(a, b).path === 'direct' && other(b, a).path === 'direct', 30_000)
    expect([a.texts, losses(a), losses(b)]).toEqual([['see you later'], [], []])
  })

  it('are back as quickly when the server was restarted meanwhile', async () => {
    world = await drivenWorld()
    const a = await world.join('party', { rtc: null })
    const b = await world.joinSleepy('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    b.sleep(kind)
    const sent = other(a, b).send('are you asleep?')
    await world.clock.advance(60_000)
    world.signaling.restart()
    await world.clock.advance(240_000)
    b.wake()
    await world.settled(sent, 2_000)
    expect([b.texts, losses(a), losses(b)]).toEqual([['are you asleep?'], [], []])
  })

  it('are met anew by those who gave them up, which each side is told in its own way', async () => {
    world = await drivenWorld()
    const a = await world.join('party', { awayMs: 120_000 })
    const b = await world.joinSleepy('party')
    await world.until('direct', () => connected(a, b) && other(a, b).path === 'direct')
    b.sleep(kind)
    const lost = other(a, b)
      .send('are you asleep?')
      .catch((error: MeshError) => error.reasonName)
    await world.clock.advance(50_000)
    world.signaling.expire(parsePeerId(b.swarm.id))
    await world.clock.advance(600_000)
    expect([a.swarm.peers.size, losses(a)]).toEqual([0, [`leave ${b.swarm.id}`]])
    expect(await lost).toBe('PEER_LEFT')
    b.wake()
    await world.until('linked', () => connected(a, b) && other(a, b).presence === 'online', 5_000)
    await world.settled(b.swarm.send('good morning'), 15_000)
    expect([a.texts, losses(b)]).toEqual([['good morning'], []])
  })

  it('check once, however many peers there are', async () => {
    world = await drivenWorld()
    const others: TestPeer[] = []
    for (let i = 0; i < 8; i++) others.push(await world.join('party'))
    const b = await world.joinSleepy('party')
    await world.until('connected', () => connected(b, ...others))
    await world.clock.advance(5_000)
    let envelopes = 0
    world.signaling.tampering.envelope = (envelope) => {
      envelopes++
      return envelope
    }
    b.calls.length = 0
    await sleepFor(b, kind, 600_000)
    const asleep = envelopes
    await world.clock.advance(2_000)
    expect([...b.swarm.peers.values()].every(({ presence }) => presence === 'online')).toBe(true)
    expect(b.calls.filter((name) => name !== 'SendMessage').length).toBeLessThanOrEqual(12)
    // One new direct path with each: an offer, an answer, candidates, and what acknowledges them.
    expect(envelopes - asleep).toBeLessThanOrEqual(8 * 20)
    // Those who are awake ask now and then, as long as the server lists the sleeper; not after that.
    expect(asleep).toBeLessThanOrEqual(8 * 20)
  })
})
