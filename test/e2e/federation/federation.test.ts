import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { MeasuredTimes } from '../network/measured-times.ts'
import { namespacesMissing } from '../network/namespaces.ts'
import { Cluster } from './cluster.ts'
import type { ClusterNetwork } from './cluster-network.ts'
import { Crowd, type CrowdOptions } from './crowd.ts'
import { JoinStorm } from './join-storm.ts'
import type { LedgerVerdict } from './ledger.ts'
import { LoopbackNetwork } from './loopback-network.ts'
import { NamespaceNetwork } from './namespace-network.ts'
import { quantile } from './quantile.ts'

/**
 * Three `mesh serve` in processes of their own, peers spread over them that talk without a pause, and what goes wrong in
 * data centres. `npm test` runs most of it on loopback with short leases; `npm run test:federation` all of it with the real
 * ones, in network namespaces where it may make them.
 */
const LANE = process.env.MESH_FEDERATION_LANE !== undefined
const SERVERS = 3

/** How long things take: in the lane what operators get, else about half of it. */
const TIMES = LANE
  ? { leaseMs: 10_000, stateMs: 1_000, graceMs: 2_000, cutMs: 35_000, stopMs: 8_000, calmMs: 5_000, drainMs: 5_000 }
  : { leaseMs: 6_000, stateMs: 500, graceMs: 1_000, cutMs: 14_000, stopMs: 4_000, calmMs: 1_000, drainMs: 1_000 }
/** Longest time a server's silence may go unnoticed; see "ghost bound" in docs/federation.md. */
const GHOST_BOUND_MS = TIMES.leaseMs + TIMES.stateMs
/** A connection is given up when nothing came for two and a half pings (federation_ping_ms, 2 s). */
const PINGS_MS = 5_000
/** The first message that gets no receipt (federation_receipt_ms, 2 s) goes through the third server, and the others too. */
const DETOUR_MS = 2_500
/** Two missed states, the look at the next one, and the answer of the third server. */
const ROWS_DETOUR_MS = 3.5 * TIMES.stateMs
/** What is passed on counts with the next state that its origin signs. */
const ROWS_DELAY_MS = 1.5 * TIMES.stateMs
/** What a busy machine may add to any of them. */
const SLACK_MS = 1_500
const STORM_ROWS = 5_000
const SLOW_LINE = { kbitPerSecond: 1_000, delayMs: 40 }

const SERVE_ARGS = [
  ...['--federation-lease-ms', `${TIMES.leaseMs}ms`, '--federation-state-ms', `${TIMES.stateMs}ms`],
  ...['--federation-pause-grace-ms', `${TIMES.graceMs}ms`, '--drain', `${TIMES.drainMs}ms`],
  // All clients of this test have one address, and a storm of joins is what one of the tests is about.
  ...['--open-sessions-per-second', '1000', '--open-sessions-burst', '1000'],
  ...['--joins-per-second', '1000', '--joins-burst', '1000'],
]

const missing = LANE ? await namespacesMissing() : 'they are for npm run test:federation'
const network = (): Promise<ClusterNetwork> =>
  missing === undefined ? NamespaceNetwork.open(SERVERS) : LoopbackNetwork.open(SERVERS)
if (LANE && missing !== undefined) {
  console.warn(`SKIPPED: network namespaces (${missing}). The same runs on loopback, over relays that can be cut.`)
}

const times = new MeasuredTimes()
const notes = new Set<string>()
let cluster: Cluster
let crowd: Crowd | undefined

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail')
    console.error(cluster.servers.map(({ index, log }) => `server ${index}\n${log}`).join('\n'))
  await crowd?.close()
  crowd = undefined
  for (const note of cluster.network.notes) notes.add(note)
  await cluster.close()
})
afterAll(() => {
  console.log([times.table(), ...notes].join('\n'))
})

async function start(options: CrowdOptions): Promise<Crowd> {
  cluster = await Cluster.start(await network(), { servers: SERVERS, args: SERVE_ARGS })
  crowd = await Crowd.gather(cluster, options)
  crowd.talk()
  await pause(TIMES.calmMs)
  return crowd
}

/** Stops the talk and demands of every kind of peer what it was promised. */
async function expectKept(crowd: Crowd): Promise<{ signals: LedgerVerdict; links: LedgerVerdict }> {
  await crowd.settle()
  expect(cluster.servers.filter(({ isCrashed }) => isCrashed).map(({ log }) => log)).toEqual([])
  const verdicts = { signals: crowd.signals.verdict(), links: crowd.links.verdict() }
  const broken = { lost: [], twice: [], falseDepartures: [] }
  expect(verdicts.signals).toMatchObject(broken)
  expect(verdicts.links).toMatchObject({ ...broken, cutOff: 0, overtaken: 0 })
  return verdicts
}

const CALM_CROWD: CrowdOptions = { signalPeersPerServer: 3, sdkPeersPerServer: 2 }
const SIGNALS_ONLY: CrowdOptions = { signalPeersPerServer: 3, sdkPeersPerServer: 0 }

describe(`three servers ${missing === undefined ? 'in network namespaces' : 'on loopback'}`, () => {
  test('pass messages on while nothing is wrong', async () => {
    const crowd = await start(CALM_CROWD)
    const { signals, links } = await expectKept(crowd)
    expect(signals.outcomes).toEqual({ delivered: signals.sent, held: 0, refused: 0, unknown: 0 })
    expect(links.outcomes.delivered).toBe(links.sent)
    const far = crowd.signals.latency(crowd.across)
    times.add('message to a peer of another server, p50', far.p50Ms)
    times.add('message to a peer of another server, p99', far.p99Ms)
    times.add(
      'message to a peer of the same server, p50',
      crowd.signals.latency((...pair) => !crowd.across(...pair)).p50Ms,
    )
  })

  test('go round a line that lost every packet, and nobody notices', async () => {
    const crowd = await start(CALM_CROWD)
    const cutAtMs = performance.now()
    await cluster.network.cut(0, 1)
    const detourMs = await cluster.detour(0, 1)
    await cluster.lost(0, 1)
    times.add('line between two servers cut: noticed', performance.now() - cutAtMs, `< ${PINGS_MS / 1_000} s`)
    times.add('… their rows come through the third after', detourMs, `< ${ROWS_DETOUR_MS / 1_000} s`)
    await pause(cutAtMs + GHOST_BOUND_MS + SLACK_MS - performance.now())
    const visits = [await crowd.visit(0, 1), await crowd.visit(1, 0)]
    const joinedMs = Math.max(...visits.map((visit) => visit.joinedMs))
    const leftMs = Math.max(...visits.map((visit) => visit.leftMs))
    times.add('… a peer joins at one of them: seen at the other after', joinedMs, `< ${ROWS_DELAY_MS / 1_000} s`)
    times.add('… and leaves: gone at the other after', leftMs, `< ${ROWS_DELAY_MS / 1_000} s`)
    await pause(cutAtMs + TIMES.cutMs - performance.now())
    await cluster.network.heal(0, 1)
    const healedAtMs = performance.now()
    const silenceMs = crowd.signals.longestSilence(crowd.between(0, 1), cutAtMs, healedAtMs)
    times.add('… longest silence between their peers', silenceMs, `< ${DETOUR_MS / 1_000} s`)
    times.add('… after it is healed: both directly connected and equal', await cluster.converged())
    await pause(TIMES.calmMs)
    await expectKept(crowd)
    expect(silenceMs).toBeLessThan(DETOUR_MS + SLACK_MS)
    expect(detourMs).toBeLessThan(ROWS_DETOUR_MS + SLACK_MS)
    expect(Math.max(joinedMs, leftMs)).toBeLessThan(ROWS_DELAY_MS + SLACK_MS)
  })

  test.runIf(LANE)(
    'lose sight of a server that is cut off, after its lease and not before, and find it again',
    async () => {
      const crowd = await start(SIGNALS_ONLY)
      const island = crowd.signalPeers.filter(({ name }) => crowd.homeOf(name) === 0)
      const mainland = crowd.signalPeers.filter(({ name }) => crowd.homeOf(name) !== 0)
      const everybody = crowd.signalPeers.map(({ name }) => name)
      // What the two sides may say of each other: gone since the cut.
      const cutAtMs = performance.now()
      for (const name of everybody) crowd.signals.gone(name, cutAtMs)
      for (const other of [1, 2]) await cluster.network.cut(0, other)
      await pause(GHOST_BOUND_MS + SLACK_MS)
      const heard = [
        ...island.flatMap(({ name }) =>
          crowd.signals.ghostMs(
            name,
            mainland.map((peer) => peer.name),
          ),
        ),
        ...mainland.flatMap(({ name }) =>
          crowd.signals.ghostMs(
            name,
            island.map((peer) => peer.name),
          ),
        ),
      ]
      times.add(
        'server cut off from all others: first peer said to have left',
        Math.min(...heard),
        `> ${TIMES.leaseMs / 1_000 - TIMES.stateMs / 1_000} s`,
      )
      times.add('… last peer said to have left', Math.max(...heard), `< ${GHOST_BOUND_MS / 1_000} s`)
      for (const other of [1, 2]) await cluster.network.heal(0, other)
      times.add('… after it is healed: all servers equal', await cluster.converged())
      times.add('… and every peer sees every other', await crowd.complete())
      for (const name of everybody) crowd.signals.back(name, performance.now())
      await pause(TIMES.calmMs)
      await expectKept(crowd)
      expect(Math.min(...heard)).toBeGreaterThan(TIMES.leaseMs - TIMES.stateMs - SLACK_MS)
      expect(Math.max(...heard)).toBeLessThan(GHOST_BOUND_MS + SLACK_MS)
    },
  )

  test('forget who died with a server, keep who moved to another, and take the server back empty', async () => {
    const crowd = await start({ ...CALM_CROWD, serversOf: (server) => [server, (server + 1) % SERVERS] })
    const [ghost] = crowd.signalPeers.filter(({ name }) => crowd.homeOf(name) === 0)
    const observers = crowd.signalPeers.filter(({ name }) => crowd.homeOf(name) !== 0).map(({ name }) => name)
    const killedAtMs = performance.now()
    await Promise.all([cluster.server(0).kill(), crowd.vanish(ghost ? [ghost] : [])])
    await pause(GHOST_BOUND_MS + SLACK_MS)
    const ghostMs = crowd.signals.ghostMs(ghost?.name ?? '', observers)
    times.add(
      'peer and server killed: others hear of it, at most',
      Math.max(...ghostMs),
      `< ${GHOST_BOUND_MS / 1_000} s`,
    )
    times.add(
      'server killed: longest silence to and from its peers, which move',
      crowd.signals.longestSilence(
        (from, to) => crowd.homeOf(from) === 0 || crowd.homeOf(to) === 0,
        killedAtMs,
        performance.now(),
      ),
    )
    await cluster.server(0).start()
    times.add('… started again, empty: all servers equal', await cluster.converged())
    await pause(TIMES.calmMs)
    await expectKept(crowd)
    expect(Math.max(...ghostMs)).toBeLessThan(GHOST_BOUND_MS + SLACK_MS)
  })

  test.runIf(LANE)('keep who is at a server that was killed and comes back at once', async () => {
    const crowd = await start(SIGNALS_ONLY)
    const killedAtMs = performance.now()
    await cluster.server(0).kill()
    await cluster.server(0).start()
    times.add('server killed and started at once: all servers equal', await cluster.converged())
    await pause(TIMES.leaseMs)
    times.add(
      '… longest silence to and from its peers, which wait',
      crowd.signals.longestSilence(
        (from, to) => crowd.homeOf(from) === 0 || crowd.homeOf(to) === 0,
        killedAtMs,
        performance.now(),
      ),
    )
    await crowd.complete()
    await expectKept(crowd)
  })

  test(`lose nobody while one of them stands still for ${TIMES.stopMs / 1_000} s`, async () => {
    const crowd = await start(CALM_CROWD)
    const stoppedAtMs = performance.now()
    cluster.server(2).pause()
    await pause(TIMES.stopMs)
    cluster.server(2).resume()
    const resumedAtMs = performance.now()
    times.add(`server stopped for ${TIMES.stopMs / 1_000} s: all servers equal afterwards`, await cluster.converged())
    await pause(TIMES.calmMs)
    times.add(
      '… longest silence between the other two',
      crowd.signals.longestSilence(crowd.between(0, 1), stoppedAtMs, resumedAtMs),
    )
    await expectKept(crowd)
  })

  test.runIf(LANE)('pass messages on a slow line beside a storm of joins', async () => {
    const crowd = await start(SIGNALS_ONLY)
    const storm = await JoinStorm.prepare(cluster.server(0).origin, STORM_ROWS)
    await cluster.network.slow(2, SLOW_LINE)
    const startedMs = performance.now()
    await storm.break()
    await cluster.converged(undefined, 60_000)
    const tookMs = performance.now() - startedMs
    const beside = crowd.signals.latency(crowd.between(0, 2), startedMs, startedMs + tookMs)
    storm.close()
    await cluster.network.slow(2)
    const line = `a line of ${SLOW_LINE.kbitPerSecond / 1_000} Mbit/s`
    times.add(`${STORM_ROWS} joins while one server has ${line}: all servers equal`, tookMs)
    times.add('… message over that line meanwhile, p50', beside.p50Ms)
    times.add('… message over that line meanwhile, p99', beside.p99Ms)
    await expectKept(crowd)
    expect(beside.count).toBeGreaterThan(0)
    expect(beside.p99Ms).toBeLessThan(tookMs / 2)
  })

  test.runIf(LANE)('bring a server up to date that starts empty behind a slow line', async () => {
    const crowd = await start(SIGNALS_ONLY)
    const storm = await JoinStorm.prepare(cluster.server(0).origin, STORM_ROWS)
    await storm.break()
    await cluster.converged()
    await cluster.network.slow(2, SLOW_LINE)
    const killedAtMs = performance.now()
    await cluster.server(2).kill()
    await cluster.server(2).start()
    const startedMs = performance.now()
    const snapshotMs = await cluster.converged(undefined, 60_000)
    const equalMs = performance.now()
    await crowd.complete()
    storm.close()
    times.add(`snapshot of ${STORM_ROWS} rows over such a line: all servers equal`, snapshotMs)
    times.add(
      '… longest silence between the other two meanwhile',
      crowd.signals.longestSilence(crowd.between(0, 1), killedAtMs, performance.now()),
    )
    // Their rows are in the snapshot: the word of their server is all there is meanwhile.
    const isFromLarge = (from: string, to: string): boolean => crowd.homeOf(from) === 0 && crowd.homeOf(to) === 2
    const silenceMs = crowd.signals.longestSilence(isFromLarge, startedMs, equalMs)
    times.add('… longest silence from peers whose rows are in it to peers of the new server', silenceMs)
    await cluster.network.slow(2)
    await expectKept(crowd)
    expect(silenceMs).toBeLessThan(snapshotMs / 2)
  })

  test('are restarted one after the other under load, and lose nothing', async () => {
    const crowd = await start(CALM_CROWD)
    const startedMs = performance.now()
    const silences: number[] = []
    for (const server of cluster.servers) {
      const stoppedAtMs = performance.now()
      await server.stop()
      await server.start()
      await cluster.converged()
      await crowd.complete()
      const touched = (from: string, to: string): boolean =>
        [from, to].some((name) => crowd.homeOf(name) === server.index)
      silences.push(crowd.signals.longestSilence(touched, stoppedAtMs, performance.now()))
    }
    times.add('rolling restart of all three, until all servers are equal', performance.now() - startedMs)
    times.add('… longest silence to and from peers of the restarted one', quantile(silences, 1))
    await pause(TIMES.calmMs)
    const { signals } = await expectKept(crowd)
    expect(signals.cutOff).toBe(0)
  })
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
