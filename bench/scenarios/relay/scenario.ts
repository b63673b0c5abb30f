import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult, TargetResult, VariantResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import { type SystemName, serverModule } from '../../systems/registry.ts'
import type { PacedOptions, SaturationOptions, SaturationResult } from './driver.ts'

interface Variant {
  readonly name: string
  readonly system: SystemName
  readonly batch: number
  /** Messages under way per line: 16 sends of one, or 4 of a whole batch. */
  readonly window: number
}

const BATCH = 16
const LINES = 8
/** Light enough for the slowest variant (a unary call per message) to keep up on one shared core. */
const PACED_PER_SECOND = 1_000
/** What a browser allows per origin on HTTP/1.1 is 6 connections; the server stream holds one. */
const WEB_CALLS = 5

const VARIANTS: readonly Variant[] = [
  variant('ws', 'ws', 1),
  variant('ws', 'ws', BATCH),
  variant('peerjs', 'peerjs', 1),
  variant('peerjs', 'peerjs', BATCH),
  variant('MESH Exchange', 'mesh-exchange', 1),
  variant('MESH Exchange', 'mesh-exchange', BATCH),
  variant('MESH gRPC', 'mesh-grpc', 1),
  variant('MESH gRPC', 'mesh-grpc', BATCH),
  { ...variant('MESH web', 'mesh-web', 1), window: WEB_CALLS },
  variant('MESH web', 'mesh-web', BATCH),
]

function variant(name: string, system: SystemName, batch: number): Variant {
  return { name: `${name} ×${batch}`, system, batch, window: batch === 1 ? 16 : 4 * batch }
}

/** (a) What relaying a message costs the server, and how long the message takes. */
export const relayScenario: Scenario = { name: 'relay', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  const stations: Station[] = []
  try {
    for (const candidate of VARIANTS) stations.push(await openStation(candidate, context))
    const durationMs = context.quick ? 500 : 1_000
    const measured = await interleave(
      stations.map(
        (station): Contender => ({ name: station.variant.name, measure: () => measure(station, durationMs) }),
      ),
      { rounds: context.quick ? 3 : 5, discard: 1, context, label: 'relay' },
    )
    return describe(measured)
  } finally {
    await Promise.all(stations.flatMap((station) => [station.load.stop(), station.server.stop()]))
  }
}

/** A server, its load generator, and the variant they serve. Idle between its turns. */
interface Station {
  readonly variant: Variant
  readonly server: Worker
  readonly load: Worker
}

async function openStation(candidate: Variant, context: BenchContext): Promise<Station> {
  context.progress(`relay · connecting · ${candidate.name}`)
  const label = candidate.name.replaceAll(/\W+/g, '-')
  const server = startWorker(serverModule(candidate.system), {
    name: `${label}-server`,
    profileDir: context.profileDir,
  })
  const load = startWorker(new URL('./load-process.ts', import.meta.url), { name: `${label}-load` })
  const port = await server.call<number>('listen')
  await load.call('open', { port, lines: LINES, batch: candidate.batch, system: candidate.system })
  return { variant: candidate, server, load }
}

async function measure(station: Station, durationMs: number): Promise<Record<string, number>> {
  const { batch, window } = station.variant
  const saturation: SaturationOptions = { durationMs, batch, window }
  const before = await station.server.usage()
  const full = await station.load.call<SaturationResult>('saturate', saturation)
  const between = await station.server.usage()
  const pacing: PacedOptions = { durationMs, batch, messagesPerSecond: PACED_PER_SECOND }
  const paced = await station.load.call<{ messages: number; p50Ms: number; p99Ms: number }>('paced', pacing)
  const after = await station.server.usage()
  return {
    messagesPerSecond: full.messages / (full.elapsedMs / 1000),
    cpuUs: (between.cpuUs - before.cpuUs) / full.messages,
    pacedCpuUs: (after.cpuUs - between.cpuUs) / paced.messages,
    p50Ms: paced.p50Ms,
    p99Ms: paced.p99Ms,
  }
}

function describe(measured: Measurements): ScenarioResult {
  return {
    scenario: 'relay',
    title: `sender → server → receiver, 200 B payloads, ${LINES} lines`,
    metrics: [
      { key: 'messagesPerSecond', heading: 'messages/s' },
      { key: 'cpuUs', heading: 'CPU µs/message' },
      { key: 'ratio', heading: '× ws, same batch' },
      { key: 'pacedCpuUs', heading: 'paced CPU µs' },
      { key: 'pacedRatio', heading: '× ws' },
      { key: 'p50Ms', heading: 'p50 ms' },
      { key: 'p99Ms', heading: 'p99 ms' },
    ],
    rows: VARIANTS.map((candidate) => describeVariant(candidate, measured)),
    targets: describeTargets(measured),
    notes: [
      'CPU: user and system time of the server process, by its own process.cpuUsage(), over messages delivered.',
      'messages/s and CPU: closed loop, 16 single messages or 4 batches under way per line (MESH web ×1: 5 calls).',
      `paced CPU, p50, p99: open loop at ${PACED_PER_SECOND} messages/s in all, where hardly anything can be coalesced.`,
      'ws relays the same protobuf messages without authentication, membership, limits, outcomes, duplicates check or replay.',
      'peerjs is JSON without batches: ×16 is 16 frames written in one turn.',
    ],
  }
}

function describeVariant(candidate: Variant, measured: Measurements): VariantResult {
  const own = measured.get(candidate.name)!
  const reference = measured.get(`ws ×${candidate.batch}`)!
  return {
    variant: candidate.name,
    measurements: {
      ...own,
      ratio: pairedRatio(own.cpuUs!, reference.cpuUs!),
      pacedRatio: pairedRatio(own.pacedCpuUs!, reference.pacedCpuUs!),
    },
  }
}

/** The promise is for the batched path; a bare relay without batches is the usual comparison, so both are stated. */
function describeTargets(measured: Measurements): TargetResult[] {
  const mesh = measured.get(`MESH Exchange ×${BATCH}`)!.cpuUs!
  const against = (batch: number): TargetResult => ({
    target: `CPU per message, MESH Exchange ×${BATCH} over ws ×${batch}`,
    bound: { atMost: 1 },
    found: pairedRatio(mesh, measured.get(`ws ×${batch}`)!.cpuUs!),
  })
  return [against(BATCH), against(1)]
}
