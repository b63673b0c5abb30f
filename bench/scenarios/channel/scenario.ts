import { generateSigningKey } from '@mesh/core'
import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import { serverModule } from '../../systems/registry.ts'
import type { NodeRtcName } from '../../systems/rtc/node-rtc.ts'
import type { RawSignal } from '../../systems/rtc/raw-rtc.ts'
import type { MeshBulkOptions } from './mesh-bulk.ts'
import { WRITE_BYTES } from './transfer.ts'

const BYTES_PER_MB = 1_000_000
const SIGNAL_POLL_MS = 5
const TARGET_RATIO = 0.85

const RAW = 'werift, hardened'
const MESH = 'MESH channel'

/** (d) Bulk throughput of a channel on the direct path, against a bare data channel of the same stack. */
export const channelScenario: Scenario = { name: 'channel', run }

/** Two connected processes, ready to move bytes from one to the other. */
interface Pair {
  readonly name: string
  readonly sender: Worker
  readonly receiver: Worker
  /** The worker method that sends. */
  readonly send: string
}

async function run(context: BenchContext): Promise<ScenarioResult> {
  const totalBytes = WRITE_BYTES * (context.quick ? 500 : 1_500)
  const server = startWorker(serverModule('mesh-exchange'), { name: 'channel-server' })
  const pairs: Pair[] = []
  try {
    const origin = `http://127.0.0.1:${await server.call<number>('listen')}`
    pairs.push(await openRawPair('stock', context), await openRawPair('hardened', context))
    pairs.push(await openMeshPair(origin, context))
    const measured = await interleave(
      pairs.map((pair): Contender => ({ name: pair.name, measure: () => measure(pair, totalBytes) })),
      { rounds: context.quick ? 3 : 5, discard: 1, context, label: 'channel' },
    )
    return describe(measured, totalBytes)
  } finally {
    await Promise.all(pairs.flatMap((pair) => [pair.sender.stop(), pair.receiver.stop()]))
    await server.stop()
  }
}

async function measure(pair: Pair, totalBytes: number): Promise<Record<string, number>> {
  const before = await usageOf(pair)
  await pair.receiver.call('expect', { totalBytes })
  const [elapsedMs] = await Promise.all([
    pair.receiver.call<number>('received'),
    pair.sender.call(pair.send, { totalBytes }),
  ])
  const after = await usageOf(pair)
  const megabytes = totalBytes / BYTES_PER_MB
  return {
    megabytesPerSecond: megabytes / (elapsedMs / 1000),
    sendCpuMs: (after.sendUs - before.sendUs) / 1000 / megabytes,
    receiveCpuMs: (after.receiveUs - before.receiveUs) / 1000 / megabytes,
  }
}

async function usageOf(pair: Pair): Promise<{ sendUs: number; receiveUs: number }> {
  const [sender, receiver] = await Promise.all([pair.sender.usage(), pair.receiver.usage()])
  return { sendUs: sender.cpuUs, receiveUs: receiver.cpuUs }
}

async function openRawPair(stack: NodeRtcName, context: BenchContext): Promise<Pair> {
  context.progress(`channel · connecting · raw ${stack}`)
  const [sender, receiver] = startPair(`channel-raw-${stack}`)
  let open = false
  const opening = Promise.all([
    receiver.call('rawOpen', { stack, side: 'answer' }),
    sender.call('rawOpen', { stack, side: 'offer' }),
  ]).then(() => {
    open = true
  })
  while (!open) {
    await Promise.all([passSignals(sender, receiver), passSignals(receiver, sender)])
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, SIGNAL_POLL_MS))])
  }
  return { name: stack === 'hardened' ? RAW : 'werift, stock', sender, receiver, send: 'rawSend' }
}

async function openMeshPair(origin: string, context: BenchContext): Promise<Pair> {
  context.progress('channel · connecting · MESH')
  const [sender, receiver] = startPair('channel-mesh', context.profileDir)
  const options: MeshBulkOptions = { origin, party: [...(await generateSigningKey()).publicKey] }
  await receiver.call('meshReceive', options)
  await sender.call('meshConnect', options)
  return { name: MESH, sender, receiver, send: 'meshSend' }
}

async function passSignals(from: Worker, to: Worker): Promise<void> {
  const signals = await from.call<readonly RawSignal[]>('rawSignals')
  if (signals.length > 0) await to.call('rawSignal', signals)
}

/** Profiles are of the MESH pair only: the others are not ours to speed up. */
function startPair(name: string, profileDir?: string): [Worker, Worker] {
  const module = new URL('./peer-process.ts', import.meta.url)
  return [
    startWorker(module, { name: `${name}-sender`, profileDir }),
    startWorker(module, { name: `${name}-receiver`, profileDir }),
  ]
}

function describe(measured: Measurements, totalBytes: number): ScenarioResult {
  const reference = measured.get(RAW)!.megabytesPerSecond!
  return {
    scenario: 'channel',
    title: `${totalBytes / BYTES_PER_MB} MB one way over the direct path, writes of ${WRITE_BYTES} bytes`,
    metrics: [
      { key: 'megabytesPerSecond', heading: 'MB/s' },
      { key: 'ratio', heading: '× hardened' },
      { key: 'sendCpuMs', heading: 'sender CPU ms/MB' },
      { key: 'receiveCpuMs', heading: 'receiver CPU ms/MB' },
    ],
    rows: [...measured].map(([variant, own]) => ({
      variant,
      measurements: { ...own, ratio: pairedRatio(own.megabytesPerSecond!, reference) },
    })),
    targets: [
      {
        target: 'throughput of a MESH channel over the raw channel of the same stack',
        bound: { atLeast: TARGET_RATIO },
        found: pairedRatio(measured.get(MESH)!.megabytesPerSecond!, reference),
      },
    ],
    notes: [
      'Sender and receiver are processes of their own; time runs from the first to the last piece received.',
      'A MESH channel adds: AES-128-GCM per packet, frames with acknowledgements, credit, WHATWG streams at both ends.',
    ],
  }
}
