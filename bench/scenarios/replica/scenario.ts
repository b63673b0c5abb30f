import { startWorker, type Worker } from '../../harness/process.ts'
import type { BenchContext, Scenario, ScenarioResult, VariantResult } from '../../harness/scenario.ts'
import { pairedRatio, type Summary, summarize } from '../../harness/stats.ts'
import { serverModule } from '../../systems/registry.ts'

const REALM = 'bench'
const FULL_ROWS = 1_000_000
const QUICK_ROWS = 200_000
/** Rows that come as entries of the log, after the snapshot. */
const LOG_SHARE = 0.1
/** How long an idle replica is watched: ten states of its origin. */
const WATCH_MS = 10_000
/** The last rows are applied within this after they were sent. */
const APPLIED_MS = 60_000

/** (g) What it costs to hold, take and keep the rows of another server. */
export const replicaScenario: Scenario = { name: 'replica', run }

interface Reading {
  readonly rows: number
  readonly measurements: Record<string, number>
}

async function run(context: BenchContext): Promise<ScenarioResult> {
  const most = context.quick ? QUICK_ROWS : FULL_ROWS
  const readings: Reading[] = []
  for (const rows of [most / 100, most / 10, most]) {
    context.progress(`replica · ${rows} rows`)
    readings.push({ rows, measurements: await measure(rows, context) })
  }
  return describe(readings)
}

/** A fresh server, and an origin that has nothing but rows: one process each. */
async function measure(rows: number, context: BenchContext): Promise<Record<string, number>> {
  const server = startWorker(serverModule('mesh-exchange'), { name: `replica-${rows}`, profileDir: context.profileDir })
  const origin = startWorker(new URL('../../systems/mesh/synthetic-origin.ts', import.meta.url), { name: 'origin' })
  try {
    const key = await origin.call<Uint8Array>('create')
    const port = await server.call<number>('listen', { federation: { realm: REALM, servers: [], allowed: [key] } })
    await origin.call('prepare', { count: rows, as: 'snapshot' })
    const decodeFirstMs = await origin.call<number>('decode')
    const empty = await server.usage({ collect: true })
    await server.call('watchPauses')
    const snapshot = await publish({ server, origin, expected: rows, connect: { port, realm: REALM } })
    const pauseMs = await server.call<number>('longestPauseMs')
    const used = await server.usage()
    const decodeMs = (decodeFirstMs + (await origin.call<number>('decode'))) / 2
    const full = await server.usage({ collect: true })
    await wait(1_000)
    const idle = await watch(server)
    const logged = rows * LOG_SHARE
    await origin.call('prepare', { count: logged, as: 'log' })
    const log = await publish({ server, origin, expected: rows + logged })
    return {
      bytesPerRow: snapshot.bytes / rows,
      heapBytesPerRow: (full.heapBytes - empty.heapBytes) / rows,
      outsideBytesPerRow: (full.externalBytes - empty.externalBytes) / rows,
      bootstrapMs: snapshot.elapsedMs,
      bootstrapCpuMs: (used.cpuUs - empty.cpuUs) / 1_000,
      decodeMs,
      pauseMs,
      logRowsPerSecond: logged / (log.elapsedMs / 1_000),
      idleCpuPercent: idle,
    }
  } finally {
    await Promise.all([origin.stop(), server.stop()])
  }
}

/** Sends what was prepared, and waits until the server shows `expected` rows of it. */
async function publish(options: {
  server: Worker
  origin: Worker
  expected: number
  connect?: { port: number; realm: string }
}): Promise<{ bytes: number; elapsedMs: number }> {
  const { server, origin, expected, connect } = options
  const startedMs = performance.now()
  if (connect) await origin.call('connect', connect)
  const bytes = await origin.call<number>('publish')
  while ((await server.call<number>('replicatedRows')) < expected) {
    if (performance.now() - startedMs > APPLIED_MS) throw new Error(`the server never came to ${expected} rows`)
    await wait(1)
  }
  return { bytes, elapsedMs: performance.now() - startedMs }
}

/** CPU of the server while only states come, in percent of a core. */
async function watch(server: Worker): Promise<number> {
  const before = await server.usage()
  await wait(WATCH_MS)
  const after = await server.usage()
  return (after.cpuUs - before.cpuUs) / (WATCH_MS * 10)
}

function describe(readings: readonly Reading[]): ScenarioResult {
  const largest = readings.at(-1)!
  const { heapBytesPerRow, bootstrapMs, decodeMs } = summaries(largest)
  return {
    scenario: 'replica',
    title: 'the rows of one other server, sent by a process that does nothing else',
    metrics: [
      { key: 'bytesPerRow', heading: 'bytes/row on the wire' },
      { key: 'heapBytesPerRow', heading: 'heap B/row' },
      { key: 'outsideBytesPerRow', heading: 'B/row outside the heap' },
      { key: 'bootstrapMs', heading: 'snapshot ms' },
      { key: 'decodeMs', heading: 'decoding alone ms' },
      { key: 'bootstrapRatio', heading: '× decoding' },
      { key: 'cpuRatio', heading: 'CPU × decoding' },
      { key: 'pauseMs', heading: 'longest pause ms' },
      { key: 'logRowsPerSecond', heading: 'rows/s as a log' },
      { key: 'idleCpuPercent', heading: 'idle CPU % of a core' },
    ],
    rows: readings.map(describeReading),
    targets: [
      { target: 'heap bytes per row', bound: { atMost: 160 }, found: heapBytesPerRow! },
      {
        target: 'time for a snapshot over decoding its bytes',
        bound: { atMost: 3 },
        found: pairedRatio(bootstrapMs!, decodeMs!),
      },
      {
        target: 'idle CPU above that with a hundredth of the rows, % of a core',
        bound: { atMost: 0.5 },
        found: summarize([largest.measurements.idleCpuPercent! - readings[0]!.measurements.idleCpuPercent!]),
      },
    ],
    notes: [
      'Snapshot: from the TCP connection to the moment the server shows all rows. Decoding: the same bytes with protobuf-es, before and after, in the process that sent them.',
      'Memory after garbage collection; outside the heap are the packed rows with the signed records. Idle: states once a second.',
      'Rates between servers are lifted; signatures of rows are verified when a row is first served, so none is here.',
    ],
  }
}

function describeReading(reading: Reading): VariantResult {
  const measurements = summaries(reading)
  const bootstrapRatio = pairedRatio(measurements.bootstrapMs!, measurements.decodeMs!)
  const cpuRatio = pairedRatio(measurements.bootstrapCpuMs!, measurements.decodeMs!)
  return { variant: `${reading.rows} rows`, measurements: { ...measurements, bootstrapRatio, cpuRatio } }
}

function summaries({ measurements }: Reading): Record<string, Summary> {
  return Object.fromEntries(Object.entries(measurements).map(([key, value]) => [key, summarize([value])]))
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
