import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cluster } from '../federation/cluster.ts'
import { LoopbackNetwork } from '../federation/loopback-network.ts'
import { Cast, connected, type E2ePeer, orderedSeeds, talk, until } from './cast.ts'

/** One swarm over two servers that federate: nobody's peer is at the server of the other. */
let cluster: Cluster
let cast: Cast

beforeEach(async () => {
  cast = new Cast()
  cluster = await Cluster.start(await LoopbackNetwork.open(2), { servers: 2 })
})
afterEach(async () => {
  await cast.end()
  await cluster.close()
  expect(cast.pageErrors).toEqual([])
})

const nodeAt = (server: number, seed?: string): Promise<E2ePeer> =>
  cast.nodePeer('party', seed, cluster.server(server).origin)
const pageAt = (server: number, seed?: string): Promise<E2ePeer> =>
  cast.pagePeer('party', seed, cluster.server(server).origin)

describe('a swarm over two servers', () => {
  it('connects two Node processes directly', async () => {
    await talk(await nodeAt(0), await nodeAt(1))
  })

  it('connects two Chromium tabs directly', async () => {
    await talk(await pageAt(0), await pageAt(1))
  })

  it('connects Chromium and Node directly, whoever offers', async () => {
    const [lower, higher] = await orderedSeeds()
    const [page, node] = [await pageAt(0, lower), await nodeAt(1, higher)]
    await talk(page, node)
    const [offering, answering] = await orderedSeeds()
    const others = [await nodeAt(0, offering), await pageAt(1, answering)]
    await until(() => connected([page, node, ...others]))
  })

  it('reports at one server at once that a peer left the other', async () => {
    const [a, b] = [await nodeAt(0), await pageAt(1)]
    await until(() => connected([a, b]))
    expect(await a.close()).toBe(0)
    await until(async () => (await b.report()).peers.length === 0, 3_000)
    expect((await b.report()).log.at(-1)).toBe(`leave ${a.id}`)
  })

  it('keeps direct links while a server is gone, and is whole when it is back', async () => {
    const [a, b] = [await nodeAt(0), await pageAt(1)]
    await until(() => connected([a, b]))
    await cluster.server(0).kill()
    expect(await a.send('without a server')).toBe(1)
    await until(async () => (await a.report()).status === 'reconnecting')
    await cluster.server(0).start()
    const [c, d] = [await nodeAt(1), await pageAt(0)]
    await until(() => connected([a, b, c, d]))
    const { log, messages } = await b.report()
    expect(messages).toContain(`${a.id} without a server`)
    expect(log.filter((entry) => entry.startsWith('leave') || entry.startsWith('restart'))).toEqual([])
  })
})
