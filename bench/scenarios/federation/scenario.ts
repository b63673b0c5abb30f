import { createServer as createNetServer } from 'node:net'
import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import { serverModule } from '../../systems/registry.ts'
import type { SaturationResult } from '../relay/driver.ts'

const BATCH = 16
const LINES = 8
/** Under way per line: a message passes through three processes, and each is to have some while the others work on theirs. */
const WINDOW = 32 * BATCH
const REALM = 'bench'
/** As long as V8 takes to compile what a message passes through: two servers get to see far fewer of them in the same time. */
const WARM_UP_MS = 4_000
/** Time for the receivers' rows to reach the senders' server before the first message. */
const SETTLE_MS = 1_000

/** Where the other end is: at the same server, or at one that it federates with. */
const VARIANTS = ['one server', 'two servers'] as const
type Variant = (typeof VARIANTS)[number]

/** (f) What it costs that the other peer is at another server. */
export const federationScenario: Scenario = { name: 'federation', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  const stations: Station[] = []
  try {
    for (const variant of VARIANTS) stations.push(await openStation(variant, context))
    const contenders = stations.map(
      (station): Contender => ({ name: station.variant, measure: () => measure(station, context) }),
    )
    const rounds = context.quick ? 3 : 5
    return describe(await interleave(contenders, { rounds, discard: 1, context, label: 'federation' }))
  } finally {
    await Promise.all(stations.flatMap(({ workers }) => workers.map((worker) => worker.stop())))
  }
}

interface Station {
  readonly variant: Variant
  readonly servers: readonly Worker[]
  readonly load: Worker
  readonly joins: Worker
  readonly ports: { readonly near: number; readonly far: number }
  readonly workers: readonly Worker[]
}

async function openStation(variant: Variant, context: BenchContext): Promise<Station> {
  context.progress(`federation · connecting · ${variant}`)
  const label = variant.replace(' ', '-')
  const count = variant === 'one server' ? 1 : 2
  const servers = Array.from({ length: count }, (_, index) =>
    startWorker(serverModule('mesh-exchange'), {
      name: `federation-${label}-server-${index}`,
      profileDir: context.profileDir,
    }),
  )
  const ports = await listen(servers)
  const near = ports[0]!
  const far = ports.at(-1)!
  const load = startWorker(new URL('../relay/load-process.ts', import.meta.url), { name: `federation-${label}-load` })
  const joins = startWorker(new URL('./join-process.ts', import.meta.url), { name: `federation-${label}-joins` })
  await load.call('open', { port: near, receiverPort: far, lines: LINES, batch: BATCH, system: 'mesh-exchange' })
  await wait(SETTLE_MS)
  await load.call('saturate', { durationMs: WARM_UP_MS, batch: BATCH, window: WINDOW })
  return { variant, servers, load, joins, ports: { near, far }, workers: [...servers, load, joins] }
}

/** Starts the servers, each of which calls all the others. */
async function listen(servers: readonly Worker[]): Promise<number[]> {
  if (servers.length === 1) return [await servers[0]!.call<number>('listen')]
  const keys = await Promise.all(servers.map((server) => server.call<Uint8Array>('identify')))
  const ports = await Promise.all(servers.map(() => freePort()))
  const addresses = keys.map((key, index) => ({ key, url: `http://127.0.0.1:${ports[index]}` }))
  return Promise.all(
    servers.map((server, index) => {
      const others = addresses.filter((_, other) => other !== index)
      return server.call<number>('listen', { port: ports[index], federation: { realm: REALM, servers: others } })
    }),
  )
}

async function measure(station: Station, context: BenchContext): Promise<Record<string, number>> {
  const { servers, load, joins, ports } = station
  const count = context.quick ? 40 : 150
  const seen = await joins.call<{ p50Ms: number; p99Ms: number }>('joins', {
    watchPort: ports.near,
    joinPort: ports.far,
    count,
  })
  const before = await cpuOf(servers)
  const durationMs = context.quick ? 500 : 1_000
  const full = await load.call<SaturationResult>('saturate', { durationMs, batch: BATCH, window: WINDOW })
  const after = await cpuOf(servers)
  const paced = await load.call<{ p50Ms: number; p99Ms: number }>('paced', {
    durationMs,
    batch: BATCH,
    messagesPerSecond: 1_000,
  })
  return {
    joinP50Ms: seen.p50Ms,
    joinP99Ms: seen.p99Ms,
    messagesPerSecond: full.messages / (full.elapsedMs / 1_000),
    cpuUs: (after - before) / full.messages,
    p50Ms: paced.p50Ms,
    p99Ms: paced.p99Ms,
  }
}

async function cpuOf(servers: readonly Worker[]): Promise<number> {
  const usages = await Promise.all(servers.map((server) => server.usage()))
  return usages.reduce((sum, { cpuUs }) => sum + cpuUs, 0)
}

function describe(measured: Measurements): ScenarioResult {
  const reference = measured.get('one server')!
  return {
    scenario: 'federation',
    title: `both peers at one server, and each at its own of two that federate; ${LINES} lines, batches of ${BATCH}`,
    metrics: [
      { key: 'joinP50Ms', heading: 'join seen, p50 ms' },
      { key: 'joinRatio', heading: '× one server' },
      { key: 'joinP99Ms', heading: 'p99 ms' },
      { key: 'messagesPerSecond', heading: 'messages/s' },
      { key: 'throughputRatio', heading: '× one server' },
      { key: 'cpuUs', heading: 'CPU µs/message, all servers' },
      { key: 'cpuRatio', heading: '× one server' },
      { key: 'p50Ms', heading: 'paced p50 ms' },
      { key: 'p99Ms', heading: 'paced p99 ms' },
    ],
    rows: VARIANTS.map((variant) => {
      const own = measured.get(variant)!
      return {
        variant,
        measurements: {
          ...own,
          joinRatio: pairedRatio(own.joinP50Ms!, reference.joinP50Ms!),
          throughputRatio: pairedRatio(own.messagesPerSecond!, reference.messagesPerSecond!),
          cpuRatio: pairedRatio(own.cpuUs!, reference.cpuUs!),
        },
      }
    }),
    targets: [
      {
        target: 'messages across two servers over those of one',
        bound: { atLeast: 0.5 },
        found: pairedRatio(measured.get('two servers')!.messagesPerSecond!, reference.messagesPerSecond!),
      },
    ],
    notes: [
      'Join seen: from the Join call at one server to the event at a member of the other, both in one process.',
      'messages/s: closed loop, 32 batches under way per line, with the receipt of every message; all processes share the machine.',
    ],
  }
}

/** A port that was free a moment ago: servers that call each other have to know theirs beforehand. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createNetServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
