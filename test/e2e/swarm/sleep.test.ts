import { afterEach, beforeEach, expect, it } from 'vitest'
import { Cast, connected, type E2ePeer, until } from './cast.ts'

/** Processes and pages that do not run for a while, and are back. */
let cast: Cast

beforeEach(async () => {
  cast = new Cast()
  // The server gives a sleeper up within 5 s, as it does within a minute otherwise.
  await cast.startServer({ heartbeatMs: 1_000, http2PingMs: 1_000, deadAfterMs: 2_500, leaseMs: 2_000 })
})
afterEach(async () => {
  await cast.end()
  expect(cast.pageErrors).toEqual([])
})

/** Longer than a direct path, the server's patience and a lease. */
const ASLEEP_MS = 20_000

async function received(peer: E2ePeer, text: string): Promise<boolean> {
  return (await peer.report()).messages.some((message) => message.endsWith(text))
}

it('a process under SIGSTOP and a frozen page are back within 2 s, with the same links', async () => {
  const awake = await cast.nodePeer('party')
  const process = await cast.nodePeer('party')
  const page = await cast.pagePeer('party')
  await until(() => connected([awake, process, page]))
  await process.freeze()
  await page.freeze()
  const sent = awake.send('are you asleep?')
  await new Promise((resolve) => setTimeout(resolve, ASLEEP_MS))
  // The browser of a page that does not run still takes what the server sends; nobody does for a stopped process.
  const { peers } = await awake.report()
  expect(peers.find(({ id }) => id === process.id)).toMatchObject({ path: 'none', presence: 'away' })
  expect(peers.find(({ id }) => id === page.id)).toMatchObject({ path: 'relay', presence: 'online' })

  for (const sleeper of [process, page]) {
    await sleeper.thaw()
    const tookMs = await until(() => received(sleeper, 'are you asleep?'), 10_000)
    expect(tookMs, `the ${sleeper.kind}`).toBeLessThan(2_000)
  }
  // It did not wait for who was away, and arrived all the same.
  expect(await sent).toBe(1)
  expect(await process.send('good morning')).toBe(2)
  await until(() => connected([awake, process, page]))
  for (const peer of [awake, process, page]) {
    const { log } = await peer.report()
    expect(log.filter((entry) => /^(leave|restart|error)/.test(entry))).toEqual([])
  }
})
