import { createClient, type MeshClient, type Swarm } from '@mesh/client'
import { generateSigningKey } from '@mesh/core'
import { createServer, type MeshServer, type ServerOptions } from '@mesh/server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../network/free-port.ts'
import { Cast, type E2ePeer, until } from './cast.ts'

/** Peers at two real servers, which are killed, started again and drained while the peers talk. */

/** Talks both ways over the relay path; `finish` waits until each message arrived, once and in order. */
class Talk {
  readonly #swarms: readonly [Swarm, Swarm]
  readonly #received: [string[], string[]] = [[], []]
  readonly #sends: Promise<unknown>[] = []
  readonly #timer: NodeJS.Timeout
  readonly departures: string[] = []
  longestMs = 0
  #count = 0

  constructor(swarms: readonly [Swarm, Swarm]) {
    this.#swarms = swarms
    for (const [i, swarm] of swarms.entries()) {
      swarm.on('message', (message) => this.#received[i as 0 | 1].push(message.text()))
      swarm.on('leave', ({ id }) => this.departures.push(`leave ${id}`))
      swarm.on('restart', ({ id }) => this.departures.push(`restart ${id}`))
    }
    this.#timer = setInterval(() => this.#say(), 20)
  }

  async finish(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#sends)
    const expected = Array.from({ length: this.#count }, (_, i) => `m${i}`)
    expect(this.#received).toEqual([expected, expected])
    expect(this.departures).toEqual([])
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #say(): void {
    const saidAtMs = performance.now()
    for (const swarm of this.#swarms) {
      const other = this.#swarms[swarm === this.#swarms[0] ? 1 : 0]
      const sent = swarm.send(`m${this.#count}`, { to: other.id }).then(() => {
        this.longestMs = Math.max(this.longestMs, performance.now() - saidAtMs)
      })
      sent.catch(() => undefined)
      this.#sends.push(sent)
    }
    this.#count++
  }
}

let clients: MeshClient[]
let talking: Talk | undefined

beforeEach(() => {
  clients = []
})
afterEach(async () => {
  talking?.stop()
  await Promise.all(clients.map((client) => client.close()))
})

async function joinAt(...servers: string[]): Promise<Swarm> {
  const client = await createClient({ servers, identity: 'ephemeral', rtc: null })
  clients.push(client)
  return client.join('party')
}

/** Every client has a session and a stream at each of its servers. */
async function allConnected(): Promise<boolean> {
  return clients.every(({ servers }) => servers.every(({ state }) => state === 'connected'))
}

async function pairAt(...servers: string[]): Promise<[Swarm, Swarm]> {
  const pair: [Swarm, Swarm] = [await joinAt(...servers), await joinAt(...servers)]
  await until(async () => pair.every((swarm) => swarm.peers.size === 1))
  return pair
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

describe('peers at two server processes', () => {
  let casts: readonly [Cast, Cast]

  beforeEach(async () => {
    casts = [new Cast(), new Cast()]
    for (const cast of casts) await cast.startServer()
  })
  afterEach(async () => {
    for (const cast of casts) await cast.end()
  })

  it('lose nothing while one after the other is killed and started again', async () => {
    const pair = await pairAt(...casts.map(({ origin }) => origin))
    talking = new Talk(pair)
    for (const cast of casts) {
      await pause(500)
      await cast.stopServer('SIGKILL')
      await pause(1_000)
      await cast.startServer()
      // From then on it can carry on alone.
      await until(allConnected)
    }
    await talking.finish()
    expect(talking.longestMs).toBeLessThan(2_000)
    expect(pair.map(({ status }) => status)).toEqual(['joined', 'joined'])
  })

  it('join at once although one is dead, and tell nobody', async () => {
    const [dead, alive] = casts
    await dead.stopServer('SIGKILL')
    const errors: string[] = []
    const startedMs = performance.now()
    const pair = await pairAt(dead.origin, alive.origin)
    expect(performance.now() - startedMs).toBeLessThan(3_000)
    for (const swarm of pair) swarm.on('error', ({ reasonName }) => errors.push(reasonName))
    await dead.startServer()
    await until(allConnected)
    await alive.stopServer('SIGKILL')
    talking = new Talk(pair)
    await pause(500)
    await talking.finish()
    expect(errors).toEqual([])
  })

  it('are found by pages and processes that share one of the two', async () => {
    const [first, second] = casts
    const hosts = casts.map(({ origin }) => new URL(origin).host).join(',')
    const both: E2ePeer = await first.nodePeerAt(`mesh://${hosts}/party`)
    const tab = await first.pagePeerAt(`mesh://${hosts}/party`)
    const others = [await first.nodePeer('party'), await second.nodePeer('party')]
    for (const peer of [both, tab]) await until(async () => (await peer.report()).peers.length === 3)
    expect(await both.send('hello')).toBe(3)
    expect(await tab.send('hello from the tab')).toBe(3)
    for (const other of others) expect((await other.report()).messages).toHaveLength(2)
  })
})

interface Serving {
  readonly server: MeshServer
  readonly origin: string
}

/** Servers in this process, until the test is over. */
const serving: MeshServer[] = []

afterEach(async () => {
  await Promise.all(serving.splice(0).map((server) => server.close({ drainMs: 0 })))
})

async function serve(options: ServerOptions = {}): Promise<Serving> {
  const server = createServer({ port: 0, ...options })
  serving.push(server)
  return { server, origin: (await server.listen()).origin }
}

describe('peers at two servers that are federated', () => {
  it('talk once each, with peers at either too, while one is killed and started again', async () => {
    const homes = await Promise.all(
      [0, 1].map(async () => ({ key: await generateSigningKey(), port: await freePort() })),
    )
    const [first, second] = homes as [(typeof homes)[number], (typeof homes)[number]]
    const options = (own: typeof first, other: typeof first): ServerOptions => ({
      port: own.port,
      key: own.key,
      federation: { realm: 'test', servers: [{ key: other.key.publicKey, url: `http://127.0.0.1:${other.port}` }] },
    })
    const one = await serve(options(first, second))
    const two = await serve(options(second, first))
    const pair = await pairAt(one.origin, two.origin)
    const [left, right] = [await joinAt(one.origin), await joinAt(two.origin)]
    await until(async () => [...pair, left, right].every((swarm) => swarm.peers.size === 3))
    talking = new Talk(pair)
    await pause(500)
    await one.server.close({ drainMs: 0 })
    await pause(2_000)
    await serve(options(first, second))
    await until(allConnected)
    await talking.finish()
    expect(await left.send('still here')).toMatchObject({ failed: [] })
    for (const swarm of [...pair, left, right]) expect([swarm.memberCount, swarm.peers.size]).toEqual([3, 3])
  })
})

describe('a server that drains', () => {
  const DRAIN_MS = 4_000

  it('hands its clients to its successor and stops early, and nobody sees anybody leave', async () => {
    const second = await serve()
    const first = await serve({ successor: second.origin, successorKey: await second.server.publicKey })
    const pair = await pairAt(first.origin)
    talking = new Talk(pair)
    await pause(300)
    const startedMs = performance.now()
    await first.server.close({ drainMs: DRAIN_MS })
    expect(performance.now() - startedMs).toBeLessThan(DRAIN_MS)
    expect(second.server.stats()).toMatchObject({ sessions: 2, members: 2 })
    await pause(500)
    await talking.finish()
    expect(talking.longestMs).toBeLessThan(1_000)
    const newcomer = await joinAt(second.origin)
    await until(async () => newcomer.peers.size === 2)
  })

  it('is let go early by clients that are at another one too, and found again after its restart', async () => {
    const [first, second] = [await serve(), await serve()]
    const pair = await pairAt(first.origin, second.origin)
    talking = new Talk(pair)
    await pause(300)
    const startedMs = performance.now()
    const { port } = new URL(first.origin)
    await first.server.close({ drainMs: DRAIN_MS })
    expect(performance.now() - startedMs).toBeLessThan(DRAIN_MS / 2)
    const again = await serve({ port: Number(port) })
    await until(async () => again.server.stats().members === 2, 30_000)
    await talking.finish()
    expect(talking.longestMs).toBeLessThan(1_000)
  })

  it('without a successor serves its clients to the end, and they come back', async () => {
    const only = await serve()
    const pair = await pairAt(only.origin)
    talking = new Talk(pair)
    await pause(300)
    await only.server.close({ drainMs: 1_000 })
    const again = await serve({ port: Number(new URL(only.origin).port) })
    await until(async () => again.server.stats().members === 2, 30_000)
    await talking.finish()
  })
})
