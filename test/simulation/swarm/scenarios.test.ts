import { ErrorReason, MeshError, type Peer } from '@mesh/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createClientOn } from '../../../client/mesh-client.ts'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'

/** What applications do and what goes wrong meanwhile, on the real SDK with time and network in the test's hands. */
let world: World

beforeEach(async () => {
  world = await drivenWorld()
})
afterEach(() => world.closeAll())

function connected(...peers: TestPeer[]): boolean {
  return peers.every(({ swarm }) => swarm.peers.size === peers.length - 1)
}

function direct(...peers: TestPeer[]): boolean {
  return (
    connected(...peers) && peers.every(({ swarm }) => [...swarm.peers.values()].every(({ path }) => path === 'direct'))
  )
}

describe('swarm', () => {
  it('delivers a message sent right after join', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    const report = await world.settled(b.swarm.send('hi'))
    expect(report.delivered.map(({ id }) => id)).toEqual([a.swarm.id])
    expect(a.texts).toEqual(['hi'])
    expect(a.messages[0]?.from.id).toBe(b.swarm.id)
  })

  it('talks over the relay path when there is no WebRTC, and says so', async () => {
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party')
    await world.settled(b.swarm.send('hi'))
    const [peer] = a.swarm.peers.values()
    expect(peer?.path).toBe('relay')
    await world.until('the offerer gives up', () => [...b.swarm.peers.values()][0]?.path === 'relay')
    expect(a.texts).toEqual(['hi'])
  })

  it('carries datagrams by either path, and goes on when they are lost', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    const received: string[] = []
    a.swarm.on('channel', ({ kind, readable }) => {
      const taken = new WritableStream<Uint8Array>({
        write: (bytes) => void received.push(new TextDecoder().decode(bytes)),
      })
      if (kind === 'datagrams') readable.pipeTo(taken).catch(() => undefined)
    })
    await world.until('connected', () => connected(a, b))
    const [peer] = b.swarm.peers.values()
    const channel = await world.settled((peer as Peer).open('cursor', { kind: 'datagrams' }))
    const send = (text: string) => channel.sendDatagram(new TextEncoder().encode(text))
    await world.clock.advance(100)
    expect(send('by the path there is')).toBe(true)
    await world.until('direct', () => direct(a, b))
    expect(send('direct')).toBe(true)
    await world.clock.advance(100)
    world.rtc.losesDatagrams = true
    expect(send('lost')).toBe(true)
    await world.settled(b.swarm.send('not lost'))
    world.rtc.losesDatagrams = false
    world.rtc.killAll()
    await world.clock.advance(100)
    send('after the change')
    await world.clock.advance(1_000)
    expect([received, a.texts]).toEqual([['by the path there is', 'direct', 'after the change'], ['not lost']])
  })

  it('keeps order and loses nothing while the path changes from relay to direct and back', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    const sends: Promise<unknown>[] = []
    const expected: string[] = []
    const say = () => {
      for (let i = 0; i < 40; i++) {
        expected.push(`m${expected.length}`)
        sends.push(b.swarm.send(expected.at(-1) as string))
      }
    }
    say()
    await world.until('direct', () => direct(a, b))
    say()
    world.rtc.killAll()
    say()
    await world.until('direct again', () => direct(a, b))
    say()
    await world.settled(Promise.all(sends))
    expect(a.texts).toEqual(expected)
  })

  it('repeats what the server lost and handles what it doubled once', async () => {
    let count = 0
    world.signaling.tampering.envelope = (envelope) => {
      count++
      if (count % 3 === 0) return undefined
      return count % 2 === 0 ? [envelope, envelope] : envelope
    }
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    const expected = Array.from({ length: 30 }, (_, i) => `m${i}`)
    for (const text of expected) await world.settled(b.swarm.send(text))
    expect(a.texts).toEqual(expected)
  })

  it('keeps direct links and says nothing when the server restarts', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => direct(a, b))
    a.log.length = 0
    world.signaling.restart()
    await world.settled(b.swarm.send('still here'))
    await world.until('joined again', () => a.swarm.status === 'joined' && b.swarm.status === 'joined')
    await world.clock.advance(30_000)
    expect(a.texts).toEqual(['still here'])
    expect(a.log.filter((entry) => !entry.startsWith('update'))).toEqual([])
    const c = await world.join('party')
    await world.until('the newcomer finds both', () => connected(a, b, c))
  })

  it('keeps relayed links over a server restart', async () => {
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.until('connected', () => connected(a, b))
    const sent = b.swarm.send('before')
    world.signaling.restart()
    await world.settled(sent)
    await world.settled(b.swarm.send('after'))
    expect(a.texts).toEqual(['before', 'after'])
    expect(a.log.filter((entry) => entry.startsWith('leave'))).toEqual([])
  })

  it('reports a departure at once when a peer closes', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('connected', () => direct(a, b))
    await world.settled(b.swarm.close())
    await world.until('left', () => a.swarm.peers.size === 0, 500)
    expect(a.log.at(-1)).toBe(`leave ${b.swarm.id}`)
  })

  it('joins, leaves and joins the same topic again', async () => {
    const a = await world.join('party')
    for (let round = 0; round < 3; round++) {
      const b = await world.join('party')
      await world.until('connected', () => connected(a, b))
      await world.settled(b.swarm.send(`round ${round}`))
      await world.settled(b.swarm.close())
      await world.until('left', () => a.swarm.peers.size === 0, 1_000)
    }
    expect(a.texts).toEqual(['round 0', 'round 1', 'round 2'])
  })

  it('leaves and joins the same topic again as the same session, without waiting for a timeout', async () => {
    const a = await world.join('party')
    const options = { servers: world.server, identity: 'ephemeral' }
    const client = await createClientOn(world.platform, options)
    for (let round = 0; round < 3; round++) {
      const b = await world.settled(client.join('party'))
      await world.until('connected', () => a.swarm.peers.size === 1 && b.peers.size === 1, 1_000)
      await world.settled(b.send(`round ${round}`))
      await world.settled(b.close())
      await world.until('left', () => a.swarm.peers.size === 0, 1_000)
      // Records are numbered by the clock.
      await world.clock.advance(10)
    }
    await world.settled(client.close())
    expect(a.texts).toEqual(['round 0', 'round 1', 'round 2'])
  })

  it('connects ten peers in three swarms, each message once and only where it belongs', async () => {
    const parties = ['red', 'green', 'blue']
    const peers: (TestPeer & { party: string })[] = []
    for (let i = 0; i < 10; i++) {
      const party = parties[i % 3] as string
      peers.push({ ...(await world.join(party)), party })
    }
    const groups = parties.map((party) => peers.filter((peer) => peer.party === party))
    await world.until('all connected', () => groups.every((group) => connected(...group)))
    await world.settled(Promise.all(peers.map(({ swarm, party }) => swarm.send(`${party} ${swarm.id}`))))
    for (const peer of peers) {
      const others = peers.filter(({ party, swarm }) => party === peer.party && swarm !== peer.swarm)
      expect([...peer.texts].sort()).toEqual(others.map(({ swarm }) => `${peer.party} ${swarm.id}`).sort())
    }
  })

  it('answers requests, and says why when it cannot', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('connected', () => connected(a, b))
    const [peer] = b.swarm.peers.values()
    await expect(world.settled(peer!.request('anybody?'))).rejects.toThrow('answers no requests')
    a.swarm.onRequest((request) => {
      if (request.text() === 'fail') throw new MeshError(ErrorReason.REQUEST_FAILED, 'on purpose')
      if (request.text() === 'break') throw new Error('a secret path')
      return { echo: request.text() }
    })
    expect((await world.settled(peer!.request('hello'))).json()).toEqual({ echo: 'hello' })
    await expect(world.settled(peer!.request('fail'))).rejects.toThrow('on purpose')
    const errors: MeshError[] = []
    a.swarm.on('error', (error) => errors.push(error))
    await expect(world.settled(peer!.request('break'))).rejects.toThrow('failed at the peer')
    expect(errors.map(({ message }) => message)).toEqual(['Unexpected failure: a secret path'])
  })

  it('gives up a request at its deadline and when the caller aborts', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('connected', () => connected(a, b))
    a.swarm.onRequest(() => new Promise(() => {}))
    const [peer] = b.swarm.peers.values()
    const late = await world.settled(peer!.request('slow', { timeoutMs: 500 }).catch((error: MeshError) => error))
    expect((late as MeshError).reasonName).toBe('DEADLINE_EXCEEDED')
    const controller = new AbortController()
    const aborted = peer!.request('slow', { signal: controller.signal }).catch((error: MeshError) => error)
    controller.abort()
    expect(((await world.settled(aborted)) as MeshError).reasonName).toBe('ABORTED')
  })

  it('carries named channels with backpressure, half-close and refusal', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => direct(a, b))
    const [peer] = b.swarm.peers.values()
    const refused = await world.settled(peer!.open('nobody listens'))
    expect(await world.settled(refused.closed)).toBeInstanceOf(MeshError)

    const received: number[] = []
    const served = Promise.withResolvers<void>()
    const off = a.swarm.on('channel', (channel) => {
      const serve = async () => {
        for await (const chunk of channel.readable) received.push(chunk.length)
        await channel.writable.getWriter().write(new TextEncoder().encode('thanks'))
        await channel.close()
      }
      serve().then(served.resolve, served.reject)
    })
    const channel = await world.settled(peer!.open('file'))
    const writer = channel.writable.getWriter()
    const total = 600_000
    for (let sent = 0; sent < total; sent += 60_000) await world.settled(writer.write(new Uint8Array(60_000)))
    await world.settled(writer.close())
    const answer = await world.settled(new Response(channel.readable).text())
    expect(answer).toBe('thanks')
    await world.settled(served.promise)
    expect(received.reduce((sum, length) => sum + length, 0)).toBe(total)
    off()
  })

  it('shows the state a peer sets, and its updates', async () => {
    const a = await world.join('party')
    const b = await world.join('party', { state: new TextEncoder().encode('away') })
    await world.until('connected', () => connected(a, b))
    const [peer] = a.swarm.peers.values()
    expect(new TextDecoder().decode(peer?.state)).toBe('away')
    b.swarm.setState(new TextEncoder().encode('back'))
    await world.until('update', () => a.log.at(-1)?.startsWith('update') === true)
    expect(new TextDecoder().decode(peer?.state)).toBe('back')
    expect(() => b.swarm.setState(new Uint8Array(1_025))).toThrow('at most 1024')
  })

  it('iterates messages, and slows senders down instead of losing any', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => direct(a, b))
    const iterator = a.swarm.messages()[Symbol.asyncIterator]()
    const first = iterator.next()
    const sends = Array.from({ length: 3_000 }, (_, i) => b.swarm.send(String(i)))
    expect((await world.settled(first)).value?.text()).toBe('0')
    for (let i = 1; i < 3_000; i++) expect((await world.settled(iterator.next())).value?.text()).toBe(String(i))
    await world.settled(Promise.all(sends))
  })
})
