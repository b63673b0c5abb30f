import { fileURLToPath } from 'node:url'
import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import { type BenchBrowser, openBrowser } from '../../systems/browser/browser.ts'
import { serverModule } from '../../systems/registry.ts'
import { openSlowLine } from '../../systems/slow-line.ts'
import type { LinkTimes, Meeting } from './link-start.ts'

/** Each way: a round trip of 50 ms, as to a server in the same part of the world. */
const LINE_MS = 25

/** Two from peer to peer and back, each of which takes two between client and server. */
const TARGET_ROUND_TRIPS = 4
const TARGET_UPGRADE_MS = { node: 500, page: 300 }

const NEAR = 'server on loopback'
const FAR = `server ${2 * LINE_MS} ms away`
const variant = (where: 'Node' | 'Chromium', line: string): string => `${where}, ${line}`

/** (h) How a link starts: from a join to the first message, and from the relay path to the direct one. */
export const startScenario: Scenario = { name: 'start', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  context.progress('start · starting a server, two Node processes and a browser')
  const server = startWorker(serverModule('mesh-exchange'), { name: 'start-server', profileDir: context.profileDir })
  const peer = (name: string) => startWorker(new URL('./node-process.ts', import.meta.url), { name: `start-${name}` })
  const nodes = [peer('resident'), peer('visitor')] as const
  await using line = await openSlowLine(LINE_MS)
  await using browser = await openBrowser(fileURLToPath(new URL('./page.ts', import.meta.url)))
  try {
    const port = await server.call<number>('listen', {
      allowedOrigins: [browser.origin],
      allowedHosts: ['127.0.0.1', `127.0.0.1:${line.port}`],
    })
    line.leadTo(port)
    const contenders: Contender[] = []
    for (const [name, at] of [
      [NEAR, port],
      [FAR, line.port],
    ] as const) {
      const origin = `http://127.0.0.1:${at}`
      contenders.push(await nodeContender(variant('Node', name), origin, ...nodes))
      contenders.push(await pageContender(variant('Chromium', name), origin, browser))
    }
    const rounds = context.quick ? 7 : 25
    return describe(await interleave(contenders, { rounds, discard: 2, context, label: 'start' }))
  } finally {
    await Promise.all([server, ...nodes].map((worker) => worker.stop()))
  }
}

async function nodeContender(name: string, origin: string, resident: Worker, visitor: Worker): Promise<Contender> {
  const meeting = await resident.call<Meeting>('host', { origin })
  return { name, measure: () => visitor.call<LinkTimes>('visit', meeting) }
}

async function pageContender(name: string, origin: string, browser: BenchBrowser): Promise<Contender> {
  const [resident, visitor] = [await browser.open(), await browser.open()]
  const meeting = await resident.evaluate<Meeting>(`bench.host(${JSON.stringify(origin)})`)
  return { name, measure: () => visitor.evaluate<LinkTimes>(`bench.visit(${JSON.stringify(meeting)})`) }
}

function describe(measured: Measurements): ScenarioResult {
  const roundTrips = (name: string) => pairedRatio(measured.get(name)!.firstMs!, measured.get(name)!.roundTripMs!)
  const upgrade = (name: string, atMost: number) => ({
    target: `${name}: ms from the relay path to the direct path`,
    bound: { atMost },
    found: measured.get(name)!.upgradeMs!,
  })
  const first = (name: string) => ({
    target: `${name}: round trips to the server from the join to the first message`,
    bound: { atMost: TARGET_ROUND_TRIPS },
    found: roundTrips(name),
  })
  return {
    scenario: 'start',
    title: 'a link starts: a peer has joined, a first message comes, the direct path takes over',
    metrics: [
      { key: 'roundTripMs', heading: 'server round trip ms' },
      { key: 'firstMs', heading: 'first message ms' },
      { key: 'roundTrips', heading: 'in round trips' },
      { key: 'upgradeMs', heading: 'relay to direct ms' },
    ],
    rows: [...measured].map(([name, own]) => ({
      variant: name,
      measurements: { ...own, roundTrips: roundTrips(name) },
    })),
    targets: [
      first(variant('Node', FAR)),
      first(variant('Chromium', FAR)),
      upgrade(variant('Node', NEAR), TARGET_UPGRADE_MS.node),
      upgrade(variant('Chromium', NEAR), TARGET_UPGRADE_MS.page),
    ],
    notes: [
      'Seen by a newcomer: from the answer to its Join, which shows a resident, to the greeting that the resident sends when',
      'the link is open. A round trip is between one client and the server, and what a peer sends to another takes one:',
      'Hello, HelloReply with an Attach, and the greeting with the other Attach before it. Which key is lower is chance.',
    ],
  }
}
