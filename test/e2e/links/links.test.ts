import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { MeasuredTimes } from '../network/measured-times.ts'
import { namespacesMissing } from '../network/namespaces.ts'
import { Cast, until } from '../swarm/cast.ts'
import { STANDSTILL_MS } from '../swarm/transfer.ts'
import { PeerNetwork } from './peer-network.ts'
import { lasting, openPairs, TransferRun } from './transfer-run.ts'

/**
 * Transfers between Chromium and Node, and between Node and Node, through everything that can happen to the way under a link.
 * `npm test` runs a few seconds of the cheapest; `npm run test:links` a minute of each.
 */
const LANE = process.env.MESH_LINKS_LANE !== undefined
const SECONDS = 60
/** A direct path without a sign of life is dead after this time, and what a busy machine adds. */
const DEAD_MS = 15_000
const SLACK_MS = 3_000
/** What a link that has its direct path makes of a lost server: nothing, but for a machine that starts another. */
const UNNOTICED_MS = 1_000
/** The direct path is dead after 15 s, and the server gives a peer up after a lease of 15 s; pings count as 5 s. */
const AWAY_MS = 20_000
/** To find out that a channel is closed, to use the relay path, and to have another channel. */
const SHORT_MS = 2_000
const CUTS = [
  ['the first peer', ['left']],
  ['the second peer', ['right']],
  ['both', ['left', 'right']],
] as const
/** 8 MiB in each direction, as fast as they go. */
const LOSSY = { chunks: 512, intervalMs: 0 }

/** What a direct path that loses packets is held to, without slack: far from the 15 s after which it would be given up. */
const LOSSY_STANDSTILL_MS = 5_000

const missing = LANE ? await namespacesMissing() : 'they are for npm run test:links'
if (LANE && missing !== undefined) console.warn(`SKIPPED: what needs network namespaces (${missing}).`)

const times = new MeasuredTimes()
let casts: Cast[] = []
let network: PeerNetwork | undefined

async function startCast(places?: PeerNetwork): Promise<Cast> {
  const cast = new Cast(places)
  casts.push(cast)
  await cast.startServer()
  return cast
}

afterEach(async () => {
  for (const cast of casts) await cast.end()
  expect(casts.flatMap(({ pageErrors }) => pageErrors)).toEqual([])
  casts = []
  await network?.close()
  network = undefined
})
afterAll(() => console.log(times.table()))

/** What is noted of a disturbance: the longest standstill of each kind of pair. */
async function note(
  run: TransferRun,
  what: string,
  sinceMs: number,
  boundMs: number,
  untilMs = sinceMs,
): Promise<void> {
  const found = await run.standstills(sinceMs, untilMs)
  for (const [i, { name }] of run.pairs.entries()) {
    const [foundMs, bound] = [found[i] as number, `< ${(boundMs + SLACK_MS) / 1_000} s`]
    if (foundMs > 0) times.add(`${what}, ${name}`, foundMs, bound)
    else times.addWords(`${what}, ${name}`, `< ${STANDSTILL_MS} ms`, bound)
  }
  expect(Math.max(...found), what).toBeLessThan(boundMs + SLACK_MS)
}

test('a transfer goes on when the data channel is closed and the server is killed', async () => {
  const cast = await startCast()
  const run = await TransferRun.start(await openPairs(cast), lasting(4))
  await run.second(0.5)
  await run.sever('left')
  await run.second(1.5)
  await cast.stopServer('SIGKILL')
  await run.sever('right')
  await run.second(2)
  await cast.startServer()
  await run.finish()
})

describe.runIf(LANE)(`a transfer of ${SECONDS} s`, () => {
  test('goes on when its data channel is closed under the SDK, at either side and at both', async () => {
    const run = await TransferRun.start(await openPairs(await startCast()), lasting(SECONDS))
    const cuts: [string, number][] = []
    for (const [i, [where, sides]] of CUTS.entries()) {
      const atMs = await run.second(10 + i * 15)
      await run.sever(...sides)
      cuts.push([where, atMs])
    }
    await run.finish()
    for (const [where, atMs] of cuts) await note(run, `data channel closed at ${where}`, atMs, SHORT_MS)
  })

  test('goes on when its server is restarted, and when the direct path is lost with it', async () => {
    const cast = await startCast()
    const run = await TransferRun.start(await openPairs(cast), lasting(SECONDS))
    const terminatedAtMs = await run.second(10)
    await cast.stopServer('SIGTERM')
    await cast.startServer()
    const killedAtMs = await run.second(20)
    await cast.stopServer('SIGKILL')
    await cast.startServer()
    const lostAtMs = await run.second(35)
    await cast.stopServer('SIGKILL')
    await run.sever('left', 'right')
    await run.second(38)
    await cast.startServer()
    const awayMs = Date.now() - lostAtMs
    await run.finish()
    await note(run, 'server restarted by SIGTERM', terminatedAtMs, UNNOTICED_MS)
    await note(run, 'server killed and started', killedAtMs, UNNOTICED_MS)
    const what = `server away for ${(awayMs / 1_000).toFixed(1)} s, data channel closed`
    // Its clients are spread over as long again.
    await note(run, what, lostAtMs, Math.ceil((2 * awayMs) / 1_000) * 1_000)
  })

  test('goes on by the second server when the first is killed', async () => {
    const [one, two] = [await startCast(), await startCast()]
    const run = await TransferRun.start(await openPairs(one, one.origin, two.origin), lasting(SECONDS))
    const firstAtMs = await run.second(10)
    await one.stopServer('SIGKILL')
    await run.sever('left', 'right')
    await run.second(25)
    await one.startServer()
    const secondAtMs = await run.second(40)
    await two.stopServer('SIGKILL')
    await run.sever('left', 'right')
    await run.finish()
    await note(run, 'one of two servers killed, data channel closed', firstAtMs, SHORT_MS)
    await note(run, 'the other one killed, data channel closed', secondAtMs, SHORT_MS)
  })

  test('waits for a process under SIGSTOP and a frozen page, and goes on', async () => {
    const run = await TransferRun.start(await openPairs(await startCast()), lasting(SECONDS))
    const frozenAtMs = await run.second(10)
    await run.freeze()
    await run.second(30)
    await run.thaw()
    await run.finish()
    await note(run, 'one side frozen for 20 s', frozenAtMs, 20_000 + 2_000)
  })
})

describe.runIf(LANE)('a peer in the middle of a transfer', () => {
  test.each([
    ['crashes', 'crash'],
    ['is a tab that is closed', 'kill'],
  ] as const)('that %s is away for the other side in time, which can go on without it', async (what, how) => {
    const all = await openPairs(await startCast())
    const pairs = all.filter(({ left }) => how === 'crash' || left.kind === 'page')
    const run = await TransferRun.start(pairs, lasting(SECONDS))
    await run.second(5)
    for (const { name, left, right } of pairs) {
      await left[how]()
      const here = async () => (await right.report()).peers.some(({ presence }) => presence === 'online')
      const tookMs = await until(async () => !(await here()), AWAY_MS + SLACK_MS)
      times.add(`peer ${what}: away after, ${name}`, tookMs, `< ${AWAY_MS / 1_000} s`)
      expect(await right.send('anybody?')).toBe(0)
      expect(await right.close()).toBe(0)
    }
  })
})

describe.runIf(LANE && missing === undefined)(`a transfer of ${SECONDS} s in network namespaces`, () => {
  test('goes on when the direct path is blocked, and when it is free again, more than once', async () => {
    network = await PeerNetwork.open(4)
    const run = await TransferRun.start(await openPairs(await startCast(network)), lasting(SECONDS))
    const blocks: number[] = []
    for (const second of [5, 35]) {
      blocks.push(await run.second(second))
      await network.block()
      await run.path('relay', DEAD_MS + SLACK_MS)
      await run.second(second + 18)
      await network.heal()
      times.add('direct path free again: in use after', await run.path('direct', 20_000))
    }
    await run.finish()
    for (const atMs of blocks) await note(run, 'direct path blocked for 18 s', atMs, DEAD_MS)
  })

  test.each([0, 10])(
    'goes on with %d percent of the packets of the direct path lost in each direction',
    async (percent) => {
      network = await PeerNetwork.open(4)
      const pairs = await openPairs(await startCast(network))
      if (percent > 0) await network.lose(percent)
      for (const pair of pairs) {
        const startedMs = Date.now()
        const run = await TransferRun.start([pair], LOSSY)
        const paths = new Set<string>()
        const watch = setInterval(async () => {
          for (const { path } of (await pair.right.report()).peers) paths.add(path)
        }, 250)
        const tookMs = await run.finish().finally(() => clearInterval(watch))
        const perSecond = (LOSSY.chunks * 16_384) / 1_048_576 / (tookMs / 1_000)
        const what = `8 MiB both ways at once, ${percent} % of packets lost, ${pair.name}`
        times.addWords(what, `${perSecond.toFixed(2)} MiB/s`)
        const untilMs = startedMs + tookMs
        await note(run, `${percent} % of packets lost`, startedMs, LOSSY_STANDSTILL_MS, untilMs)
        expect(Math.max(...(await run.standstills(startedMs, untilMs)))).toBeLessThan(LOSSY_STANDSTILL_MS)
        expect([...paths]).toEqual(['direct'])
      }
    },
  )
})
