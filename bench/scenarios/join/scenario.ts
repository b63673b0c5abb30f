import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult, TargetResult } from '../../harness/scenario.ts'
import { pairedDifference } from '../../harness/stats.ts'
import { type BenchBrowser, openBrowser } from '../../systems/browser/browser.ts'
import { serverModule } from '../../systems/registry.ts'
import type { NodeRtcName } from '../../systems/rtc/node-rtc.ts'
import type { MeshJoinTimes, MeshMeeting } from './mesh-join.ts'

/** What MESH may add to a bare pair: three round trips to the server, two seals, two proofs. */
const TARGET_ADDED_MS = 30

const NODE_STOCK = 'Node: werift pair, stock'
const NODE_RAW = 'Node: werift pair, hardened'
const NODE_MESH = 'Node: MESH'
const PAGE_RAW = 'Chromium: raw pair'
const PAGE_MESH = 'Chromium: MESH'

/** (c) From the first act of a peer that joins to the first message it receives. */
export const joinScenario: Scenario = { name: 'join', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  context.progress('join · starting a server, a Node process and a browser')
  const server = startWorker(serverModule('mesh-exchange'), { name: 'join-server', profileDir: context.profileDir })
  const node = startWorker(new URL('./node-process.ts', import.meta.url), { name: 'join-node' })
  await using browser = await openBrowser(fileURLToPath(new URL('./page.ts', import.meta.url)))
  try {
    const origin = `http://127.0.0.1:${await server.call<number>('listen', { allowedOrigins: [browser.origin] })}`
    const contenders = [...(await nodeContenders(node, origin)), ...(await pageContenders(browser, origin))]
    const rounds = context.quick ? 7 : 25
    return describe(await interleave(contenders, { rounds, discard: 2, context, label: 'join' }))
  } finally {
    await Promise.all([node.stop(), server.stop()])
  }
}

async function nodeContenders(node: Worker, origin: string): Promise<Contender[]> {
  await node.call('meshHost', { origin })
  const raw = (name: string, stack: NodeRtcName): Contender => ({
    name,
    measure: async () => ({ firstMs: await node.call<number>('raw', { stack }) }),
  })
  return [
    raw(NODE_STOCK, 'stock'),
    raw(NODE_RAW, 'hardened'),
    { name: NODE_MESH, measure: async () => ({ ...(await node.call<MeshJoinTimes>('meshJoin')) }) },
  ]
}

async function pageContenders(browser: BenchBrowser, origin: string): Promise<Contender[]> {
  const resident = await browser.open()
  const joiner = await browser.open()
  const meeting = await resident.evaluate<MeshMeeting>(`bench.meshHost(${JSON.stringify(origin)})`)
  return [
    { name: PAGE_RAW, measure: () => measureRawPages(resident, joiner) },
    {
      name: PAGE_MESH,
      measure: async () => ({
        ...(await joiner.evaluate<MeshJoinTimes>(`bench.meshJoin(${JSON.stringify(meeting)})`)),
      }),
    },
  ]
}

async function measureRawPages(resident: Page, joiner: Page): Promise<Record<string, number>> {
  await resident.evaluate('bench.rawGreet()')
  const firstMs = await joiner.evaluate<number>('bench.rawJoin()')
  await resident.evaluate('bench.rawEnd()')
  return { firstMs }
}

function describe(measured: Measurements): ScenarioResult {
  return {
    scenario: 'join',
    title: 'a peer joins a resident one and waits for its greeting',
    metrics: [
      { key: 'joinedMs', heading: 'join() ms' },
      { key: 'firstMs', heading: 'first message ms' },
      { key: 'directMs', heading: 'first over WebRTC ms' },
    ],
    rows: [...measured].map(([variant, measurements]) => ({ variant, measurements })),
    targets: [
      ...describeTargets('Node', measured.get(NODE_MESH)!, measured.get(NODE_RAW)!),
      ...describeTargets('Chromium', measured.get(PAGE_MESH)!, measured.get(PAGE_RAW)!),
    ],
    notes: [
      'Both peers of a Node pair share one process, both pages one browser; the MESH server is a process of its own.',
      'A raw pair starts with its signaling in place and knows its partner; its only message is the greeting.',
      'MESH: a new identity and session, join, discovery, sealed handshake. The first message travels over the relay;',
      '"over WebRTC" is a second one, sent when the direct path has taken over.',
      'The party is given by its key. By a name, the first join in a process pays for deriving that key once more.',
    ],
  }
}

function describeTargets(where: string, mesh: Measured, raw: Measured): TargetResult[] {
  const added = (what: string, key: string): TargetResult => ({
    target: `${where}: ms over the raw pair until ${what}`,
    bound: { atMost: TARGET_ADDED_MS },
    found: pairedDifference(mesh[key]!, raw.firstMs!),
  })
  return [added('the first message', 'firstMs'), added('the first message over WebRTC', 'directMs')]
}

type Measured = NonNullable<ReturnType<Measurements['get']>>
