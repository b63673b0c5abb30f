import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cast, connected, type E2ePeer, orderedSeeds, randomSeed, talk, until } from './cast.ts'

/** Real servers, processes and browsers. */
let cast: Cast

beforeEach(async () => {
  cast = new Cast()
  await cast.startServer()
})
afterEach(async () => {
  await cast.end()
  expect(cast.pageErrors).toEqual([])
})

describe('swarm of real peers', () => {
  it('connects two Node processes directly', async () => {
    await talk(await cast.nodePeer('party'), await cast.nodePeer('party'))
  })

  it('connects two Chromium tabs of one profile, each with an identity of its own', async () => {
    const first = await cast.pagePeer('party')
    const second = await cast.pagePeer('party')
    expect(first.id).not.toBe(second.id)
    await talk(first, second)
  })

  it('connects Chromium and Node when Chromium offers', async () => {
    const [lower, higher] = await orderedSeeds()
    await talk(await cast.pagePeer('party', lower), await cast.nodePeer('party', higher))
  })

  it('connects Chromium and Node when Node offers', async () => {
    const [lower, higher] = await orderedSeeds()
    await talk(await cast.nodePeer('party', lower), await cast.pagePeer('party', higher))
  })

  it('connects five mixed peers, every pair directly, each message once', async () => {
    await talk(
      await cast.nodePeer('party'),
      await cast.pagePeer('party'),
      await cast.nodePeer('party'),
      await cast.pagePeer('party'),
      await cast.nodePeer('party'),
    )
  })

  it.each([
    ['Node and Node', 'node', 'node'],
    ['Chromium and Node', 'page', 'node'],
    ['Node and Chromium', 'node', 'page'],
    ['Chromium and Chromium', 'page', 'page'],
  ] as const)('exchanges datagrams on the direct path between %s', async (_, first, second) => {
    const make = (kind: 'node' | 'page') => (kind === 'node' ? cast.nodePeer('party') : cast.pagePeer('party'))
    const [a, b] = [await make(first), await make(second)]
    await until(() => connected([a, b]))
    // A busy machine may drop some; nothing else does.
    expect(await a.datagrams(100)).toBeGreaterThan(80)
    expect(await b.send('in order beside them')).toBe(1)
  })

  it('reports a departure at once when a peer leaves, and its process ends by itself', async () => {
    const [a, b] = [await cast.nodePeer('party'), await cast.nodePeer('party')]
    await until(() => connected([a, b]))
    expect(await b.close()).toBe(0)
    const tookMs = await until(async () => (await a.report()).peers.length === 0, 3_000)
    expect(tookMs).toBeLessThan(3_000)
    expect((await a.report()).log.at(-1)).toBe(`leave ${b.id}`)
  })

  it('notices a peer that was killed within lease and heartbeats', async () => {
    const [a, b, c] = [await cast.nodePeer('party'), await cast.nodePeer('party'), await cast.pagePeer('party')]
    await until(() => connected([a, b, c]))
    await b.kill()
    // The direct path is dead after 15 s to 20 s, and the server's lease is over by then.
    const away = async (peer: E2ePeer) =>
      (await peer.report()).peers.some(({ id, presence }) => id === b.id && presence === 'away')
    await until(async () => (await away(a)) && (await away(c)), 30_000)
    expect(await a.send('still here')).toBe(1)
  })

  it('keeps direct links while the server is gone and is whole when it is back', async () => {
    const [a, b] = [await cast.nodePeer('party'), await cast.pagePeer('party')]
    await until(() => connected([a, b]))
    await cast.stopServer('SIGKILL')
    expect(await a.send('without a server')).toBe(1)
    await until(async () => (await a.report()).status === 'reconnecting')
    await cast.startServer()
    const c = await cast.nodePeer('party')
    await until(() => connected([a, b, c]))
    const { log, messages } = await b.report()
    expect(messages).toContain(`${a.id} without a server`)
    expect(log.filter((entry) => entry.startsWith('leave') || entry.startsWith('restart'))).toEqual([])
  })

  it('tells a process whose identity another one took over, and does not fight', async () => {
    const seed = randomSeed()
    const older = await cast.nodePeer('party', seed)
    const newer = await cast.nodePeer('party', seed)
    await until(async () => (await older.report()).status === 'closed')
    expect((await older.report()).log).toContain('error SESSION_REPLACED')
    const other = await cast.nodePeer('party')
    await until(() => connected([newer, other]))
    expect((await newer.report()).status).toBe('joined')
  })
})
