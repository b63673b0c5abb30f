import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import { type SystemName, serverModule } from '../../systems/registry.ts'

interface Variant {
  readonly name: string
  readonly system: SystemName
}

const VARIANTS: readonly Variant[] = [
  { name: 'ws', system: 'ws' },
  { name: 'peerjs', system: 'peerjs' },
  { name: 'MESH gRPC', system: 'mesh-grpc' },
  { name: 'MESH web', system: 'mesh-web' },
]

/** Connected before the first reading, so code, warm heap and listener are not charged to the peers. */
const WARM_PEERS = 500
const LOAD_PROCESSES = 2
/** Timers of the opening phase run out and sockets settle before a reading. */
const SETTLE_MS = 1_500
/** How long idle CPU is watched: several heartbeats of every system. */
const WATCH_MS = 12_000
const BYTES_PER_KIB = 1024

/** (b) What a peer that is connected and says nothing costs the server. */
export const idleScenario: Scenario = { name: 'idle', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  const peers = context.quick ? 1_500 : 5_000
  const measured = await interleave(
    VARIANTS.map((variant): Contender => ({ name: variant.name, measure: () => measure(variant, peers, context) })),
    { rounds: context.quick ? 1 : 2, context, label: `idle, ${peers} peers` },
  )
  return describe(measured, peers)
}

/** Every reading is a fresh server: memory, unlike time, remembers what went before. */
async function measure(variant: Variant, peers: number, context: BenchContext): Promise<Record<string, number>> {
  const server = startWorker(serverModule(variant.system), {
    name: `idle-${variant.system}-server`,
    profileDir: context.profileDir,
  })
  const loads: Worker[] = []
  try {
    const port = await server.call<number>('listen')
    for (let index = 0; index < LOAD_PROCESSES; index++) {
      loads.push(startWorker(new URL('./load-process.ts', import.meta.url), { name: `idle-${variant.system}-load` }))
    }
    const open = (count: number, offset: number): Promise<unknown> =>
      openShares(loads, { ...variant, port, count, offset })
    await open(WARM_PEERS, 0)
    await wait(SETTLE_MS)
    const before = await server.usage({ collect: true })
    const startedMs = performance.now()
    await open(peers - WARM_PEERS, WARM_PEERS)
    const openedMs = performance.now() - startedMs
    await wait(SETTLE_MS)
    const after = await server.usage({ collect: true })
    const watchedFrom = await server.usage()
    await wait(context.quick ? SETTLE_MS : WATCH_MS)
    const watched = await server.usage()
    const added = peers - WARM_PEERS
    return {
      rssKiB: (after.rssBytes - before.rssBytes) / added / BYTES_PER_KIB,
      heapKiB: (after.heapBytes - before.heapBytes) / added / BYTES_PER_KIB,
      opensPerSecond: added / (openedMs / 1000),
      openCpuUs: (after.cpuUs - before.cpuUs) / added,
      ...(context.quick ? {} : { idleCpuPercent: (watched.cpuUs - watchedFrom.cpuUs) / (WATCH_MS * 10) }),
    }
  } finally {
    await Promise.all([...loads, server].map((worker) => worker.stop()))
  }
}

function openShares(
  loads: readonly Worker[],
  options: { system: SystemName; port: number; count: number; offset: number },
): Promise<unknown> {
  const { system, port } = options
  const share = Math.ceil(options.count / loads.length)
  return Promise.all(
    loads.map((load, index) => {
      const count = Math.min(share, options.count - index * share)
      return load.call('open', { system, port, count, offset: options.offset + index * share })
    }),
  )
}

function describe(measured: Measurements, peers: number): ScenarioResult {
  const reference = measured.get('ws')!
  return {
    scenario: 'idle',
    title: `${peers} connected peers that say nothing`,
    metrics: [
      { key: 'rssKiB', heading: 'RSS KiB/peer' },
      { key: 'ratio', heading: '× ws' },
      { key: 'heapKiB', heading: 'JS heap KiB/peer' },
      { key: 'openCpuUs', heading: 'CPU µs to open' },
      { key: 'opensPerSecond', heading: 'opens/s' },
      { key: 'idleCpuPercent', heading: 'idle CPU % of a core' },
    ],
    rows: VARIANTS.map(({ name }) => {
      const own = measured.get(name)!
      return { variant: name, measurements: { ...own, ratio: pairedRatio(own.rssKiB!, reference.rssKiB!) } }
    }),
    targets: [],
    notes: [
      `Server process, after garbage collection: growth from ${WARM_PEERS} to ${peers} peers, each with a connection of its own.`,
      'A MESH peer is an authenticated session, a signed membership in a party of eight, and an open event stream',
      '(gRPC: HTTP/2; web: HTTP/1.1). A ws peer is a socket in a map; a peerjs peer a socket, an id and a token.',
      'Memory of the kernel is not in it; it is alike, being one TCP connection each.',
    ],
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
